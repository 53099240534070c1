"""The costs of a network and the receptive fields of its layers, computed without running it."""
