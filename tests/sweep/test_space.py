"""The values of `--param`, and their check against a config."""

from pathlib import Path

import pytest

from cnncli.config.config import Config, read_config
from cnncli.errors import CnncliError, ConfigError, UsageError
from cnncli.sweep.space import (
    Choices,
    Domain,
    FloatRange,
    IntRange,
    check_grid,
    check_space,
    combinations,
    parse_parameters,
    short_names,
)

NOWHERE = Path("no-data")


@pytest.fixture(scope="module")
def config() -> Config:
    return read_config("quickstart", data_dir=NOWHERE)


@pytest.mark.parametrize(
    ("spec", "domain"),
    [
        ("1e-4..1e-1", FloatRange(0.0001, 0.1)),
        ("log:1e-4..1e-1", FloatRange(0.0001, 0.1, log=True)),
        ("-.5..2", FloatRange(-0.5, 2.0)),
        ("int:1..8", IntRange(1, 8)),
        ("log:int:1..64", IntRange(1, 64, log=True)),
        ("int:log:1..64", IntRange(1, 64, log=True)),
        ("4,8,16", Choices((4, 8, 16))),
        ("1e-3, 1e-2", Choices((0.001, 0.01))),
        ("relu,gelu", Choices(("relu", "gelu"))),
        ("true,1,'1'", Choices((True, 1, "1"))),
        ("[3,5],[5,3]", Choices(([3, 5], [5, 3]))),
        ("null,{patience: 3}", Choices((None, {"patience": 3}))),
        ("a..b,c", Choices(("a..b", "c"))),
    ],
)
def test_the_values_of_a_parameter(spec: str, domain: Domain) -> None:
    (parameter,) = parse_parameters([f"a.0.b={spec}"])
    assert (parameter.path, parameter.spec, parameter.domain) == ("a.0.b", spec, domain)
    assert repr(parameter.domain) == repr(domain), "1 and True are equal, and not the same"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.epochs", "not of the form PATH=SPEC"),
        ("train..epochs=1,2", "not of the form PATH=SPEC"),
        ("train.epochs=", "not of the form PATH=SPEC"),
        ("a=3..3", "3 is not below 3"),
        ("a=log:0..1", "starts above 0"),
        ("a=int:1..2.5", "takes whole numbers"),
        ("a=log:4,8", "4,8 is not a range"),
        ("a=1e-3..inf", "1e-3..inf is not a range"),
        ("a=int:1..9007199254740993", "too large"),
        ("a=8", "at least two values"),
        ("a=4,8,4", "4 is listed twice"),
        ("a=[4,8", "[4,8 is not a list of YAML values"),
    ],
)
def test_a_wrong_parameter(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_parameters([text])
    assert caught.value.message.startswith(f"--param {text}: ")
    assert message in caught.value.message
    assert caught.value.remedy


def test_one_field_is_varied_once() -> None:
    with pytest.raises(UsageError, match="a is given twice"):
        parse_parameters(["a=1,2", "a=3,4"])
    with pytest.raises(UsageError, match=r"--param a\.b lies inside --param a,"):
        parse_parameters(["a.b=1,2", "a=3,4"])
    assert len(parse_parameters(["ab=1,2", "a=3,4"])) == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("train.optimiser.lr=log:1e-4..1", ConfigError, "Did you mean optimizer?"),
        ("train.optimizer.adamw.lr=-1..1", ConfigError, "--param train.optimizer.adamw.lr=-1.0"),
        ("train.label_smoothing=0.5..1.5", ConfigError, "--param train.label_smoothing=1.5"),
        ("model.layers.0.conv.out_channels=8,0", ConfigError, "--param model.layers.0.conv.out_channels=0"),
        ("model.layers.0.conv.activation=relu,rellu", ConfigError, "Did you mean relu?"),
        ("model.layers.1.max_pool.kernel_size=int:2..20", ConfigError, "kernel_size=20"),
        ("model.layers.7.conv.out_channels=4,8", UsageError, "7 is not a position in a list of 7"),
        ("train.optimizer.sgd.lr=0.1,1", UsageError, "train.optimizer is adamw"),
        ("data.validation=0.1,0", ConfigError, "there are none"),
    ],
)
def test_every_parameter_is_checked_against_the_config(
    text: str, error: type[CnncliError], message: str, config: Config
) -> None:
    with pytest.raises(error) as caught:
        check_space(config, parse_parameters(["train.epochs=int:1..3", text]), data_dir=NOWHERE)
    assert message in caught.value.message
    assert "--set" not in caught.value.message, "the option was --param"


def test_a_range_of_a_whole_number(config: Config) -> None:
    """1.0 and 4.0 are whole numbers, but not what lies between them."""
    with pytest.raises(ConfigError) as caught:
        check_space(config, parse_parameters(["train.epochs=1..4"]), data_dir=NOWHERE)
    assert caught.value.remedy == "for whole numbers write --param train.epochs=int:1..4"


def test_a_grid_lists_all_combinations() -> None:
    parameters = parse_parameters(["a=int:1..3", "b=x,y"])
    check_grid(parameters)
    assert combinations(parameters) == 6
    continuous = parse_parameters(["a=int:1..3", "b=0..1"])
    assert combinations(continuous) is None
    with pytest.raises(UsageError, match=r"b=0\.\.1 has infinitely many values"):
        check_grid(continuous)
    many = parse_parameters(["a=int:1..1_000_000_000_000", "b=x,y"])
    assert combinations(many) == 2 * 10**12
    with pytest.raises(UsageError, match="2,000,000,000,000 combinations of values are more than 10,000"):
        check_grid(many)


def test_headings_are_as_short_as_possible() -> None:
    paths = ["train.optimizer.adamw.lr", "model.layers.0.conv.out_channels", "model.layers.2.conv.out_channels", "a.3"]
    assert list(short_names(paths).values()) == [
        "lr",
        "layers.0.conv.out_channels",
        "layers.2.conv.out_channels",
        "a.3",
    ]
