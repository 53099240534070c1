"""Limits on the costs of a network, checked from its config before it is trained."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cnncli.config.network import Network
from cnncli.errors import UsageError, did_you_mean
from cnncli.inspection.columns import size_in_bytes
from cnncli.inspection.table import inspect_network

Cost = Literal["params", "macs", "ram"]

_COSTS: tuple[Cost, ...] = ("params", "macs", "ram")
_LIMIT = re.compile(r"(\d+(?:_\d+)*|\d*\.\d+)\s*([a-zA-Z]*)")
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BYTES = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30}
"""As `cnncli inspect` prints bytes."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a network costs.

    Attributes:
        params: parameters.
        macs: multiply-accumulates for one image.
        ram: bytes of the activations that exist at the same time in the inference of one image, at the peak: the
            `memory.inference` of `cnncli inspect`.
    """

    params: int
    macs: int
    ram: int


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The largest value of a cost."""

    cost: Cost
    most: int


def parse_limits(texts: Sequence[str]) -> tuple[Limit, ...]:
    """The limits of all `--limit` options: `params=50k`, `macs=2M`, `ram=64kB`.

    k, M and G are powers of 1000; kB, MB and GB powers of 1024, as `cnncli inspect` prints them.

    Raises:
        UsageError: a limit is misspelled or given twice.
    """
    limits = tuple(map(_parse, texts))
    for cost in _COSTS:
        if sum(limit.cost == cost for limit in limits) > 1:
            raise UsageError(f"--limit {cost} is given twice", remedy="give each limit once")
    return limits


def _parse(text: str) -> Limit:
    name, _, amount = (part.strip() for part in text.partition("="))
    cost = next((each for each in _COSTS if each == name), None)
    if cost is None:
        raise UsageError(
            f"--limit {text}: unknown cost {name}{did_you_mean(name, _COSTS)}", remedy="for example --limit params=50k"
        )
    units = _BYTES if cost == "ram" else _COUNTS
    known, example = ("B, kB, MB or GB", "ram=64kB") if cost == "ram" else ("k, M or G", f"{cost}=50k")
    match = _LIMIT.fullmatch(amount)
    if match is None or match[2].lower() not in units:
        raise UsageError(
            f"--limit {text}: {amount or 'nothing'} is not an amount",
            remedy=f"write a number, and a unit if you like ({known}): --limit {example}",
        )
    most = int(float(match[1]) * units[match[2].lower()])
    if not most:
        raise UsageError(f"--limit {text}: no network has {cost} 0", remedy=f"raise the limit: --limit {example}")
    return Limit(cost=cost, most=most)


def costs_of(network: Network) -> Costs:
    """The costs of a config's network, as `cnncli inspect` reports them for one image."""
    table = inspect_network(network, "")
    assert table.memory.inference is not None, "the shapes of a config's network are known"
    return Costs(params=table.params, macs=table.macs, ram=table.memory.inference)


def format_cost(cost: Cost, amount: int) -> str:
    """A cost for people: bytes with their unit, counts with separators."""
    return size_in_bytes(amount) if cost == "ram" else f"{amount:,}"


def excess(costs: Costs, limits: Sequence[Limit]) -> str | None:
    """Which limits are exceeded and by what, or None."""
    over = [limit for limit in limits if getattr(costs, limit.cost) > limit.most]
    return (
        "; ".join(
            f"{limit.cost} {format_cost(limit.cost, getattr(costs, limit.cost))} "
            f"> {format_cost(limit.cost, limit.most)}"
            for limit in over
        )
        or None
    )
