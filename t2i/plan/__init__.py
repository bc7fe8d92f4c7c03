"""`plan=true`: what a command would do, and nothing of it."""
