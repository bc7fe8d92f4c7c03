"""Fine-tuning: which parameters train, the objective, the loop, and checkpoints."""
