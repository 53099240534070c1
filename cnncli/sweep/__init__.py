"""Sweeps: many runs of a config with other values of its fields, chosen by Optuna."""

from typing import Literal

SamplerName = Literal["tpe", "random", "grid"]
"""How values are proposed."""
PrunerName = Literal["none", "median", "hyperband"]
"""How trials are ended early."""
