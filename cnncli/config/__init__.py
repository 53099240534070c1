"""The config: what a YAML file may say, read strictly and without importing torch."""
