"""TensorBoard: what runs write for it."""
