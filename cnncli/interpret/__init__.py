"""What a trained network does with images: where it looks, what excites it, where it errs. Tensors in, tensors out."""
