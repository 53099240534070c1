"""Wall time of `cnncli inspect CFG` and `cnncli --help` from a cold start, against importing what they are made of.

    python benchmarks/inspect_config.py

Each command is a process of its own; they run by turns, and the first round does not count. The package is compiled
first, as pip does when it installs it. The large config has 1,000 convolutions at 28x28. Asked for are at most 1.6
times `import typer, rich` for the help, 3 times `import typer, rich, pydantic, yaml` for lenet5, and 1 s more for the
large config.

Measured on two cores of an AMD EPYC, Python 3.11.7, typer 0.29.2, rich 15.0.0, pydantic 2.14.4, medians of 15 rounds:
imports 0.053 s, help 0.052 s (0.98 times that: the collector of garbage is off until a command runs); more imports
0.085 s, lenet5 0.183 s (2.15 times that), 1,000 layers 0.695 s (0.51 s more).
"""

import compileall
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cnncli

ROUNDS = 15
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
    compileall.compile_dir(Path(cnncli.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.yaml"
        large.write_text(LARGE, encoding="utf-8")
        imports, more_imports = "import typer, rich", "import typer, rich, pydantic, yaml"
        commands = {
            imports: ["-c", imports],
            "cnncli --help": ["-m", "cnncli", "--help"],
            more_imports: ["-c", more_imports],
            "cnncli inspect lenet5": ["-m", "cnncli", "inspect", "lenet5"],
            "cnncli inspect a config of 1,000 layers": ["-m", "cnncli", "inspect", str(large)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(1 + ROUNDS):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - start)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
    print(f"{ROUNDS} rounds after one to warm up\n\n| | median | fastest | slowest |\n|---|---|---|---|")
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(f"| {name} | {medians[name]:.3f} s | {min(times[1:]):.3f} s | {max(times[1:]):.3f} s |")
    print(f"\nhelp: {medians['cnncli --help'] / medians[imports]:.2f} times its imports; ", end="")
    print(f"lenet5: {medians['cnncli inspect lenet5'] / medians[more_imports]:.2f} times; ", end="")
    more = medians["cnncli inspect a config of 1,000 layers"] - medians["cnncli inspect lenet5"]
    print(f"1,000 layers: {more:.2f} s more")


if __name__ == "__main__":
    main()
