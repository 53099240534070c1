"""Many runs: list, compare, verify, prune."""
