"""Audits of a data set: labels that look wrong, and images that are there twice."""
