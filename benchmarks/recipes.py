"""Test accuracy and training time of a config: mean and standard deviation over seeds.

    python -m benchmarks recipes --config mnist-fast --seeds 10

Seeds are 0, 1, 2, ...; each is one `cnncli train CFG --set train.seed=N`. The last line is the comment for the top of
the config. Do not choose anything based on these numbers: recipes are searched on a validation split.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks.measure import Comparison, Contender, Missing, Numbers, Settings, compare


def run(settings: Settings) -> list[Comparison]:
    """Raises Missing unless a config is named."""
    config = settings.config
    if config is None:
        raise Missing("--config CFG")
    seeds = 1 if settings.quick else settings.seeds
    results = compare(config, {config: _by_seed(settings, config)}, rounds=seeds, warmup=0)
    accuracies, training, _ = (each.values[config] for each in results)
    print(reached(accuracies, training, threads=settings.threads))
    return results


def reached(accuracies: Sequence[float], seconds: Sequence[float], *, threads: int) -> str:
    """The comment for the top of a config.

    Args:
        accuracies: on the test images, in per cent, one for each seed.
        seconds: of training and validation.
        threads: CPU threads.
    """
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return (
        f"# Reached: {statistics.mean(accuracies):.2f} % on the test images (mean of {len(accuracies)} seeds, standard "
        f"deviation {spread:.2f}, from {min(accuracies):.2f} to {max(accuracies):.2f}) after "
        f"{statistics.mean(seconds):.1f} s of training, on {threads} thread{'' if threads == 1 else 's'}."
    )


def _by_seed(settings: Settings, config: str) -> Contender:
    def training(seed: int) -> Numbers:
        sets = [f"train.seed={seed}", "log.images=0", "log.graph=false"]
        sets += ["data.name=digits", "train.epochs=1"] if settings.quick else []
        with tempfile.TemporaryDirectory() as folder:
            words = ["train", config, "--out", folder, "--threads", str(settings.threads), "--quiet"]
            words += ["--data-dir", str(settings.data_dir), *(word for each in sets for word in ("--set", each))]
            began = perf_counter()
            subprocess.run([sys.executable, "-m", "cnncli", *words], check=True, stdout=subprocess.DEVNULL)
            whole = perf_counter() - began
            (run,) = Path(folder).iterdir()
            results = json.loads((run / "results.json").read_bytes())
            epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        return {
            "test accuracy, %": 100 * results["test"]["accuracy"],
            "training and validation, s": sum(epoch["seconds"] for epoch in epochs),
            "the whole command, s": whole,
        }

    return training
