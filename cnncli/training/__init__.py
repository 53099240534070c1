"""Training: one loop, what it needs to stop and go on, and the run directory it writes into."""
