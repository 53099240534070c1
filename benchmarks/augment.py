"""An epoch with augmentation, compared with one without."""

from benchmarks import ours
from benchmarks.measure import Comparison, Settings, Setups, compare, in_processes
from benchmarks.networks import NETWORKS

SHIFT_ROTATE_SCALE = ("data.augment.shift=2", "data.augment.rotate=10", "data.augment.scale=0.1")
FLIP = ("data.augment.flip=horizontal",)


def run(settings: Settings) -> list[Comparison]:
    """A comparison for each network; the goal is at most 1.15 times the epoch without."""
    comparisons = []
    for network in NETWORKS:
        ways = {"shift, rotation, scale": SHIFT_ROTATE_SCALE, "flips": FLIP, "no augmentation": ()}
        contenders: Setups = {name: (ours.epoch_after_epoch, (settings, network, way)) for name, way in ways.items()}
        with in_processes(contenders, settings) as processes:
            comparisons += compare(network, processes, rounds=settings.rounds_or(7), warmup=settings.warmup)
    return comparisons
