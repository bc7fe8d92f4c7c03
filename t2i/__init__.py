"""Fine-tune text-to-image diffusion models and know whether it worked."""
