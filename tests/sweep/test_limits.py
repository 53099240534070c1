"""Limits on costs, and the peak of live activations of a small network, counted by hand."""

import pytest

from cnncli.errors import UsageError
from cnncli.sweep.limits import Costs, Limit, costs_of, excess, parse_limits
from tests.networks import network_of


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("params=50k", Limit(cost="params", most=50_000)),
        ("macs=2M", Limit(cost="macs", most=2_000_000)),
        ("macs=1.5G", Limit(cost="macs", most=1_500_000_000)),
        ("params=1_000", Limit(cost="params", most=1000)),
        ("ram=64kB", Limit(cost="ram", most=65_536)),
        ("ram = 2 MB", Limit(cost="ram", most=2 * 2**20)),
        ("ram=900", Limit(cost="ram", most=900)),
    ],
)
def test_a_limit(text: str, limit: Limit) -> None:
    assert parse_limits([text]) == (limit,)


@pytest.mark.parametrize(
    "text", ["params", "params=", "params=few", "parms=3", "ram=64k", "macs=2MB", "macs=-1", "ram=0", "macs=.5"]
)
def test_a_wrong_limit(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limits([text])
    assert caught.value.message.startswith(f"--limit {text}: ")


def test_a_limit_is_given_once() -> None:
    with pytest.raises(UsageError, match="macs is given twice"):
        parse_limits(["macs=1M", "params=3", "macs=2M"])


def test_the_costs_of_a_network_with_a_residual_branch() -> None:
    """While the second convolution runs, its input, its output and the shortcut exist.

    Input: 1 channel of 4x4. The first convolution makes 2 channels, and its output is also the shortcut. Numbers of
    four bytes: the input 16, which the caller keeps; the shortcut 32; inside the branch 48 and then 32.
    """
    network = network_of(
        "[{conv: {out_channels: 2, kernel_size: 1, bias: false}},"
        " {residual: {main: [{conv: {out_channels: 3, kernel_size: 1, bias: false}},"
        "                    {conv: {out_channels: 2, kernel_size: 1, bias: false}}],"
        "             shortcut: identity}}, flatten, logits]",
        (1, 4, 4),
        classes=2,
    )
    costs = costs_of(network)
    assert costs.ram == 4 * (16 + 32 + 48 + 32)
    assert costs.params == 2 * 1 + 3 * 2 + 2 * 3 + (32 * 2 + 2)
    assert costs.macs == 16 * (2 * 1 + 3 * 2 + 2 * 3) + 32 * 2


def test_what_exceeds_its_limit() -> None:
    costs = Costs(params=1200, macs=5000, ram=2048)
    limits = parse_limits(["params=1k", "macs=5k", "ram=1kB"])
    assert excess(costs, limits) == "params 1,200 > 1,000; ram 2.0 kB > 1.0 kB"
    assert excess(costs, parse_limits(["macs=5k"])) is None, "a limit may be reached"
