"""What a training that stops needs to go on: shared by the tuning of a diffusion model and of a CLIP."""
