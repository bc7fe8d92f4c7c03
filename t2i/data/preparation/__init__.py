"""From a source to a training-ready, audited set."""
