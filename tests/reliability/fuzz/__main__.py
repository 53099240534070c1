"""`python -m tests.reliability.fuzz --cases 50000 --seed 1`: run the fuzzer, and print outcomes and failures."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.reliability.fuzz.fuzz import GENERATORS, describe, fuzz, trained_run


def main() -> int:
    """Exit code 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case: --first 17 --cases 1")
    parser.add_argument("--kind", choices=[*GENERATORS], help="only cases of this kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = fuzz(
            trained_run(Path(folder)),
            range(options.first, options.first + options.cases),
            seed=options.seed,
            kind=options.kind,
            jobs=options.jobs,
        )
    sys.stdout.write(describe(report) + "\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
