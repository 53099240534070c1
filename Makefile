.PHONY: check

# All checks, in a separate environment: see .ci/run.
check:
	.ci/run
