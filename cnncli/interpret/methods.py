"""The ways to ask which pixels speak for a class; torch-free, for the command line."""

from enum import StrEnum


class Method(StrEnum):
    """A way, by its word on the command line."""

    GRADIENT = "gradient"
    SMOOTHGRAD = "smoothgrad"
    INTEGRATED = "integrated"
    GRADCAM = "gradcam"
    OCCLUSION = "occlusion"
    ALL = "all"
