"""Files of unknown origin: found, fenced, and read strictly."""
