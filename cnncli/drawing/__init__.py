"""Tensors as pictures: numpy arrays of uint8 (H, W, 3), red, green and blue."""
