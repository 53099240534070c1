"""mnist-fast (or `--config`) to 99 % of MNIST, compared with a tuned plain loop.

The loop has its tensors in memory, batches of 256, one epoch of one-cycle Adam, and two convolutions; it is measured as
published, in float32, and with `channels_last`. The config trains in bfloat16 where the processor supports it, and is
measured in float32 as well. Each round is one training run with the number of the round as its seed. Reading the data
and measuring the accuracy are not timed.
"""

from benchmarks import bare, ours
from benchmarks.measure import Comparison, Settings, Setups, compare, in_processes

RECIPE = "mnist-fast"


def run(settings: Settings) -> list[Comparison]:
    """Time of an epoch, time to 99 %, and the final accuracy of each training run."""
    recipe, target = settings.config or RECIPE, 0.0 if settings.quick else 0.99
    contenders: Setups = {
        recipe: (ours.training_by_seed, (settings, recipe, target)),
        f"{recipe}, float32": (ours.training_by_seed, (settings, recipe, target, "train.precision=fp32")),
        "plain loop": (bare.one_cycle_by_seed, (settings, False, target)),
        "plain loop, channels_last": (bare.one_cycle_by_seed, (settings, True, target)),
    }
    with in_processes(contenders, settings) as processes:
        return compare("MNIST", processes, rounds=settings.rounds_or(5), warmup=settings.warmup)
