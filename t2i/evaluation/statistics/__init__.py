"""Intervals, paired changes, and what both are made of."""
