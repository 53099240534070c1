"""Store results: a line of JSON with the machine, and tables in the README."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Comparison, Settings
from cnncli.training.metadata import collect_metadata


def circumstances(settings: Settings, words: Sequence[str]) -> dict[str, Any]:
    """Machine, versions, threads, commit, date and command, as in a run's metadata.json."""
    metadata = collect_metadata(
        device=torch.device("cpu"), data_files={}, command=["python", "-m", "benchmarks", *words]
    )
    for key in ("data", "precision", "processes"):
        del metadata[key]
    return {"date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %z}", **metadata, "threads": settings.threads}


def append_line(path: Path, name: str, found: Sequence[Comparison], settings: Settings, where: dict[str, Any]) -> None:
    """Append the results of a benchmark to a file."""
    options = {key: value for key, value in asdict(settings).items() if key != "data_dir"}
    line = {"benchmark": name, **where, "settings": options, "comparisons": [each.as_record() for each in found]}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def tables(found: Sequence[Comparison], where: dict[str, Any]) -> str:
    """Markdown: the machine and versions, and a table for each comparison."""
    versions = where["versions"]
    rounds = len(next(iter(found[0].values.values())))
    machine = (
        f"{where['date'][:10]}: {where['device']['name']}, {where['threads']} thread"
        f"{'' if where['threads'] == 1 else 's'}, Python {versions['python']}, torch {versions['torch']}, "
        f"cnncli {versions['cnncli']} ({(where['git_commit'] or 'no commit')[:10]}), {rounds} round"
        f"{'' if rounds == 1 else 's'}."
    )
    return "\n".join([machine + "\n", *(comparison.markdown() for comparison in found)])


def write_readme(path: Path, name: str, text: str) -> None:
    """Write the tables of a benchmark between its markers."""
    page = path.read_text(encoding="utf-8")
    between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    assert between.search(page), f"{path} has no place for {name}"
    path.write_text(between.sub(lambda found: f"{found[1]}{text}{found[2]}", page), encoding="utf-8")
