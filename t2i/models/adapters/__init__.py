"""What other tools made and `weights=` takes: low-rank adapters, textual inversions, tuned networks - by their files."""
