"""An epoch of `fit` with its progress display, compared with a hand-written loop over tensors in memory.

Network, optimizer, batch size and precision are the same. The loop is measured with images and weights in
`channels_last`, as in cnncli on the CPU, and without, as most people write it.
"""

from benchmarks import bare, ours
from benchmarks.measure import Comparison, Settings, Setups, compare, in_processes
from benchmarks.networks import NETWORKS


def run(settings: Settings) -> list[Comparison]:
    """A comparison for each network; the goal is at most 1.03 times the loop with `channels_last`."""
    comparisons = []
    for network in NETWORKS:
        contenders: Setups = {
            "cnncli": (ours.epoch_after_epoch, (settings, network, ())),
            "bare loop, channels_last": (bare.epoch_after_epoch, (settings, network, True)),
            "bare loop": (bare.epoch_after_epoch, (settings, network, False)),
        }
        with in_processes(contenders, settings) as processes:
            comparisons += compare(network, processes, rounds=settings.rounds_or(7), warmup=settings.warmup)
    return comparisons
