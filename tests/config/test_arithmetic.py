"""Arithmetic on block parameters, against Python's own."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.config.arithmetic import evaluate, has_parameter
from tests.networks import lay_out_text, network_of_text

VALUES = {"a": 12, "b_2": 5, "name": "same", "flag": True, "list": [1, 2], "none": None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$a", 12),
        ("$list", [1, 2]),
        ("$none", None),
        ("$a * 6", 72),
        ("$a*6", 72),
        ("6 * $a", 72),
        ("$a / 4 + 1", 4),
        ("1 + $a / 4", 4),
        ("$a - $b_2 - 2", 5),
        ("$b_2 - $a", -7),
        ("$a / 2 * 3 / 9", 2),
        ("2 * $a - 3 * $b_2", 9),
    ],
)
def test_values(text: str, value: object) -> None:
    assert has_parameter(text)
    assert evaluate(text, VALUES) == value


@given(st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(0, 30) | st.sampled_from(["$a", "$b_2"])), min_size=1))
def test_random_expressions(parts: list[tuple[str, int | str]]) -> None:
    """With fractions instead of whole numbers, wherever those exist at every quotient."""
    text = "$a" + "".join(f" {operator} {term}" for operator, term in parts)
    terms, operators = (
        [12, *(VALUES[str(each)[1:]] if str(each)[0] == "$" else each for _, each in parts)],
        [each for each, _ in parts],
    )
    python = " ".join(f"{op} Fraction({term})" for op, term in zip(["", *operators], terms, strict=True))
    try:
        expected = eval(python, {"Fraction": Fraction})
        found = Fraction(evaluate(text, VALUES))
    except (ZeroDivisionError, ValueError):
        return
    assert found == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("$x", "unknown parameter $x"),
        ("$b_3 * 2", "unknown parameter $b_3. Did you mean b_2?"),
        ("$a / 5", "12 / 5 is not a whole number"),
        ("$a / 0", "12 / 0 is not a whole number"),
        ("$name * 2", "the value of name, same, is not a whole number"),
        ("$flag + 1", "the value of flag, True, is not a whole number"),
        ("$", "unknown parameter $"),
        ("$a ** 2", "only + - * /"),
        ("$a * (2)", "only + - * /"),
        ("$a.real", "unknown parameter $a.real"),
        ("$a * 1.5", "only + - * /"),
        ("$a" + " + $a" * 20, "only + - * /"),
    ],
)
def test_problems(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        evaluate(text, VALUES)


@pytest.mark.parametrize("text", ["same", "2 * 3", "a $b", "cost: $5", ""])
def test_other_strings_stay(text: str) -> None:
    assert not has_parameter(text)


def test_in_a_block() -> None:
    block = "{params: {c: required}, layers: [{conv: {out_channels: $c * 2 - 1, kernel_size: [1, $c / 2]}}]}"
    network = network_of_text(f"model: {{blocks: {{b: {block}}}, layers: [{{b: 4}}]}}", (1, 8, 8))
    assert network.nodes[0].shape == (7, 8, 7)
    _, problems = lay_out_text(f"model: {{blocks: {{b: {block}}}, layers: [{{b: 5}}, relu]}}", (1, 8, 8))
    assert problems == ["$c / 2: 5 / 2 is not a whole number"]
