"""One file a metric: a pure function of features."""
