"""Many runs: found and summarized, compared, verified, and deleted."""
