"""Searching schedulers, guidance scales and steps with Optuna."""
