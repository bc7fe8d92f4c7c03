"""Schedulers, guidance, and the one sampler that every picture of the project comes from."""
