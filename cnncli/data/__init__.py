"""From the name of a data set to batches of normalized, augmented images on a device."""
