"""A fuzzer of the command line: almost-valid configs, options, images, data sets and runs.

`python -m tests.reliability.fuzz --cases 50000 --seed 1` runs it. Case i of a seed is always the same. A case ends well
if the program succeeds, or ends with a documented exit code and a message that names the place; what ends otherwise is
made smaller and printed.
"""
