"""Where pictures and captions come from, one file a layout."""
