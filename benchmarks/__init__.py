"""What cnncli takes, against what people would use instead; `python -m benchmarks --list` says which there are."""
