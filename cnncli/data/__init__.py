"""From the name of a data set to batches of normalised, augmented images on a device."""
