"""See what a convolutional network computes, sees and learns."""

__version__ = "0.1.0"
