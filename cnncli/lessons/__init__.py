"""The lecture on convolutional networks: pages of text, formulas, grids and steps. How they look is not said here."""
