"""Checks of the installation: versions, devices, data sets, free disk, each problem with its remedy."""
