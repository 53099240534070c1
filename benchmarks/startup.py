"""Wall time of `cnncli inspect CFG` from a cold start, against importing the libraries it cannot do without.

    python benchmarks/startup.py

Each command is a process of its own; the three run by turns, and the first round does not count. The large config has
1,000 convolutions at 28x28.

Measured on two cores of an AMD EPYC that did other work besides, Python 3.11.7, medians of 9 rounds: imports 0.10 s,
lenet5 0.35 s (3.5 times that), 1,000 layers 1.05 s (0.70 s on top of lenet5).
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 9
LARGE = """
version: 1
name: large
data: {name: mnist, size: 28}
model:
  layers:
    - repeat: {times: 1000, layers: [{conv: {out_channels: 4, kernel_size: 3, padding: same, activation: relu}}]}
    - global_avg_pool
    - logits
"""


def main() -> None:
    """Print a Markdown table of medians, and of the fastest and slowest rounds."""
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.yaml"
        large.write_text(LARGE, encoding="utf-8")
        python = sys.executable
        commands = {
            "import typer, rich, pydantic, yaml": [python, "-c", "import typer, rich, pydantic, yaml"],
            "inspect lenet5": [python, "-m", "cnncli", "inspect", "lenet5"],
            "inspect a config of 1,000 layers": [python, "-m", "cnncli", "inspect", str(large)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(1 + ROUNDS):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - start)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
    print(f"{ROUNDS} rounds after one to warm up\n\n| | median | fastest | slowest |\n|---|---|---|---|")
    for name, times in seconds.items():
        counted = times[1:]
        print(f"| {name} | {statistics.median(counted):.2f} s | {min(counted):.2f} s | {max(counted):.2f} s |")


if __name__ == "__main__":
    main()
