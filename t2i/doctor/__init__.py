"""`task=doctor`: what is checked of a machine."""
