"""`python -m benchmarks`: all of them; `python -m benchmarks epoch startup`: these."""

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
    "memory",
    "epoch",
    "augment",
    "scale",
    "pictures",
    "folder",
    "tuned",
    "standard",
    "keras_convnet",
)
"""From the shortest to the longest; each is a module here."""
ONLY_BY_NAME = ("recipes",)
"""Measures configs and compares with nothing."""


def main(words: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    words = sys.argv[1:] if words is None else words
    given = _parser().parse_args(words)
    if given.list:
        for name in (*COMPARED, *ONLY_BY_NAME):
            documentation = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
            print(f"{name:18} {documentation.splitlines()[0]}")
        return
    # torch takes its time: not before the arguments are known to be right.
    from benchmarks import record

    settings = Settings(
        rounds=given.rounds,
        quick=given.quick,
        data_dir=given.data_dir,
        threads=given.threads,
        config=given.config,
        seeds=given.seeds,
    )
    where = record.circumstances(settings, words)
    for name in given.names or COMPARED:
        try:
            found = importlib.import_module(f"benchmarks.{name}").run(settings)
        except Missing as missing:
            print(f"{name}: left out, there is no {missing}", file=sys.stderr)
            continue
        text = record.tables(found, where)
        print(f"## {name}\n\n{text}")
        if not given.quick or given.results != RESULTS:
            record.append_line(given.results, name, found, settings, where)
        if given.write:
            record.write_readme(given.readme, name, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*COMPARED, *ONLY_BY_NAME, []], metavar="NAME", help="which")
    parser.add_argument("--list", action="store_true", help="say which there are, and run none")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs; the numbers mean nothing")
    parser.add_argument("--rounds", type=int, help="of each contender, instead of the benchmark's own number")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU (default: all cores)")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("CNNCLI_DATA") or "data"))
    parser.add_argument("--config", help="the config to measure, where a benchmark has one of its own")
    parser.add_argument("--seeds", type=int, default=10, help="for recipes: how many trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that gets a line of JSON")
    parser.add_argument("--write", action="store_true", help="put the tables into the README")
    parser.add_argument("--readme", type=Path, default=README, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
