"""What distortions of the images change: the accuracy, and the maps of each layer."""
