.PHONY: check

# Everything that must pass, in an environment of its own: see .ci/run.
check:
	.ci/run
