"""The config language: strict YAML, read and validated without importing torch."""
