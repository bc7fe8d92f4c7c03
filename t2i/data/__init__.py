"""Where images and captions come from, how they are prepared, and how prepared ones are read."""
