"""`python -m benchmarks` runs all benchmarks, `python -m benchmarks epoch startup` these two."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Missing, Settings

HERE = Path(__file__).parent
RESULTS, README = HERE / "results.jsonl", HERE / "README.md"

COMPARED = (
    "startup",
    "inspect_resnet152",
    "playground",
    "memory",
    "epoch",
    "augment",
    "scale",
    "pictures",
    "live",
    "folder",
    "audit",
    "tuned",
    "standard",
    "keras_convnet",
)
"""From the shortest to the longest; each is a module of this package."""
ONLY_BY_NAME = ("recipes",)
"""Measures a config without comparing it."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the benchmarks of the command line."""
    words = sys.argv[1:] if words is None else words
    options = _parser().parse_args(words)
    if options.list:
        for name in (*COMPARED, *ONLY_BY_NAME):
            documentation = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
            print(f"{name:18} {documentation.splitlines()[0]}")
        return
    # Importing torch takes a while: only after the arguments have been checked.
    from benchmarks import record

    settings = Settings(
        rounds=options.rounds,
        quick=options.quick,
        data_dir=options.data_dir,
        threads=options.threads,
        config=options.config,
        seeds=options.seeds,
    )
    where = record.circumstances(settings, words)
    for name in options.names or COMPARED:
        try:
            results = importlib.import_module(f"benchmarks.{name}").run(settings)
        except Missing as missing:
            print(f"{name}: skipped, missing {missing}", file=sys.stderr)
            continue
        text = record.tables(results, where)
        print(f"## {name}\n\n{text}")
        if not options.quick or options.results != RESULTS:
            record.append_line(options.results, name, results, settings, where)
        if options.write:
            record.write_readme(options.readme, name, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*COMPARED, *ONLY_BY_NAME, []],
        metavar="NAME",
        help="which benchmarks (default: all that compare)",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and exit")
    parser.add_argument("--quick", action="store_true", help="only check that it runs; the numbers mean nothing")
    parser.add_argument("--rounds", type=int, help="rounds of each contender, instead of the benchmark's default")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all cores)")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("CNNCLI_DATA") or "data"))
    parser.add_argument("--config", help="the config to measure, for benchmarks with a default config")
    parser.add_argument("--seeds", type=int, default=10, help="number of training runs, for recipes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to which a line of JSON is appended")
    parser.add_argument("--write", action="store_true", help="write the tables to the README")
    parser.add_argument("--readme", type=Path, default=README, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
