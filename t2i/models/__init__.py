"""Loading, freezing, wiring checks and export of latent diffusion models."""
