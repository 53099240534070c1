"""Sweeps: many runs of a config with other values of its fields, chosen by Optuna."""
