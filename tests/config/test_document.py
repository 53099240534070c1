"""Strict YAML: what a person reads, with the place of every value."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cnncli.config.config import _Dumper
from cnncli.config.document import Document, Mark, Problem, descend, parse_document, parse_scalar
from cnncli.errors import ConfigError


def read(text: str) -> Document:
    """Parse text as the file `c.yaml`."""
    return parse_document(text, name="c.yaml")


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("010", 10),
        ("-7", -7),
        ("60_000", 60000),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("no", "no"),
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("same", "same"),
        (".inf", ".inf"),
    ],
)
def test_unquoted_scalars(word: str, meaning: object) -> None:
    """A number, a boolean, null, or a string."""
    value = read(f"key: {word}").data["key"]
    assert value == meaning
    assert type(value) is type(meaning)


def test_quoted_scalars_are_strings() -> None:
    assert read("a: '010'\nb: \"true\"").data == {"a": "010", "b": "true"}


def test_positions_of_values_and_keys() -> None:
    """Lines and columns count from 1."""
    document = read("a: 1\nb:\n  - x\n  - {c: 2}\n")
    assert document.marks["a",] == Mark(1, 4)
    assert document.marks["b", 1, "c"] == Mark(4, 9)
    assert document.key_marks["b",] == Mark(2, 1)


def test_problems_are_listed_in_the_order_of_the_file() -> None:
    """Each with its path, the line, and a caret under the value."""
    document = read("a: 1\nb: 22\n")
    with pytest.raises(ConfigError) as caught:
        document.raise_problems([Problem(("b",), "too large"), Problem(("a",), "too small")])
    assert caught.value.message == (
        "c.yaml:1:4 a: too small\n    1 | a: 1\n      |    ^\nc.yaml:2:4 b: too large\n    2 | b: 22\n      |    ^"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "c.yaml:2:1 a: duplicate key, first defined on line 1"),
        ("a: !!python/object:os.system {}\n", "c.yaml"),
        ("a: !secret x\n", "YAML tags such as !secret are not supported"),
        ("a: &a [*a]\n", "this alias contains itself"),
        ("? [1, 2]\n: x\n", "a key must be a string"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("a: {b: 1\n", "not YAML"),
        ("- 1\n", "a config must be a mapping"),
        ("", "c.yaml is empty"),
        ("# nothing\n", "a config must be a mapping"),
        ("a: " + "[" * 5000, "nested more than 64 deep"),
    ],
)
def test_invalid_yaml(text: str, message: str) -> None:
    """Each is an error with its position."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert message in caught.value.message


def test_aliases_cannot_grow_without_bound() -> None:
    """Nine levels of nine aliases would be 387 million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        read("\n".join(lines))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(-1e6, 1e6)
    | st.text("abno01e-.:#'\" $", max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text("abno1e-", min_size=1, max_size=5), children, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abno1e-", min_size=1, max_size=5), plain, min_size=1, max_size=4))
def test_resolved_configs_round_trip(data: dict[str, object]) -> None:
    """Strict YAML reads what the dumper of resolved configs writes."""
    assert read(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)).data == data


def test_descend() -> None:
    """Descends into mappings and lists; None if there is nothing."""
    assert descend({"a": [1, {"b": 2}]}, ("a", 1, "b")) == 2
    assert descend({"a": [1]}, ("a", 3)) is None


def test_scalars_of_many_digits_stay_strings() -> None:
    assert parse_scalar("9" * 5000) == "9" * 5000
