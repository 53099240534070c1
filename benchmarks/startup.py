"""Wall time of commands from a cold start, compared with importing the libraries they need.

Each command runs in its own process. The package is byte-compiled first, as pip does at installation. The large config
has 1,000 convolutions at 28x28. A training run ends at its first step and is compared with importing torch and reading
the files of its data set.
"""

import compileall
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Comparison, Settings, command, compare
from cnncli import __file__ as package

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
READ = (
    "import sys, pathlib, numpy, torch\n"
    "files = pathlib.Path(sys.argv[1]).glob('*-ubyte')\n"
    "kept = [torch.from_numpy(numpy.fromfile(file, numpy.uint8)) for file in files]"
)


def run(settings: Settings) -> list[Comparison]:
    """The goals are at most 1.6 times for `--help` and 1.3 times for a training run."""
    compileall.compile_dir(Path(package).parent, quiet=1)
    rounds, warmup = settings.rounds_or(9), settings.warmup
    data = "digits" if settings.quick else "mnist"
    raw = settings.data_dir / "MNIST" / "raw"
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.yaml"
        large.write_text(LARGE, encoding="utf-8")
        train = ("train", "lenet5", "--set", f"data.name={data}", "--threads", str(settings.threads), "--out", folder)
        return [
            *compare(
                "--help",
                {
                    "cnncli --help": command("-m", "cnncli", "--help"),
                    "import typer, rich": command("-c", "import typer, rich"),
                },
                rounds=rounds,
                warmup=warmup,
            ),
            *compare(
                "inspect",
                {
                    "inspect lenet5": command("-m", "cnncli", "inspect", "lenet5"),
                    "import typer, rich, pydantic, yaml": command("-c", "import typer, rich, pydantic, yaml"),
                    "inspect a config of 1,000 layers": command("-m", "cnncli", "inspect", str(large)),
                },
                rounds=rounds,
                warmup=warmup,
            ),
            *compare(
                "until the first training step",
                {
                    "train lenet5": command(
                        "-m", "benchmarks.startup", *train, "--data-dir", str(settings.data_dir.resolve())
                    ),
                    "import torch, read the files": command("-c", READ, str(raw)),
                },
                rounds=rounds,
                warmup=warmup,
            ),
        ]


class EndAtTheFirstStep:
    """An import hook that makes the training end after its first step.

    Patching the class earlier would import torch before the command does.
    """

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> None:
        """Called by Python for every import; finds no module."""
        if name == "cnncli.training.loop":
            from cnncli.training.progress import Progress

            Progress.write = lambda *_: sys.exit(0)  # type: ignore[method-assign]  # it is called after every step


if __name__ == "__main__":
    from cnncli.__main__ import main

    sys.meta_path.insert(0, EndAtTheFirstStep)
    main()
