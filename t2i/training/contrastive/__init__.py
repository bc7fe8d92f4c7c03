"""Contrastive tuning of a CLIP: `task=clip`."""
