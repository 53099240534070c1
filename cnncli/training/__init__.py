"""Training: the loop, its state and checkpoints, and the run directory."""
