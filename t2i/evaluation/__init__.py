"""Numbers that say whether a model got better: pure functions of features, each with an interval and a definition."""
