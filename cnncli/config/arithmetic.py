"""Whole-number arithmetic on the parameters of blocks, such as `$channels * 6`. Nothing else is evaluated."""

import re
from collections.abc import Mapping
from typing import Any

from cnncli.errors import did_you_mean

_TERM = r"(?:\$[A-Za-z_][A-Za-z0-9_]*|[0-9]{1,18})"
PARAMETER_PATTERN = rf"^ *{_TERM}( *[-+*/] *{_TERM})* *$"
"""A parameter, or terms with operators between them; at least one term is a parameter."""
MAX_TERMS = 20


def has_parameter(text: str) -> bool:
    """Whether a scalar is a parameter or arithmetic with one: `$x`, `6 * $x + 1`; or is meant to be."""
    return text.startswith("$") or ("$" in text and re.match(PARAMETER_PATTERN, text) is not None)


def evaluate(text: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  plain YAML data
    """The value of a scalar with parameters: that of `$x` itself, whatever it is, or a whole number.

    Products and quotients come before sums and differences; a quotient must be a whole number.

    Args:
        text: the scalar.
        values: of the parameters.

    Raises:
        ValueError: a parameter is unknown or no whole number, a quotient is none, or the text is something else.
    """
    if text[1:] in values and text[0] == "$":
        return values[text[1:]]
    if not re.search(r"[-+*/]", text):
        raise ValueError(f"unknown parameter {text}{did_you_mean(text[1:], values)}")
    tokens = re.findall(r"\$\w+|[0-9]+|[-+*/]", text)
    if re.match(PARAMETER_PATTERN, text) is None or len(tokens) > 2 * MAX_TERMS:
        raise ValueError(
            f"{text}: only + - * / between parameters and whole numbers are evaluated, up to {MAX_TERMS} of them"
        )
    names = [token[1:] for token in tokens if token[0] == "$"]
    for name in names:
        if name not in values:
            raise ValueError(f"unknown parameter ${name}{did_you_mean(name, values)}")
    for name in names:
        if not isinstance(values[name], int) or isinstance(values[name], bool):
            raise ValueError(f"{text}: the value of {name}, {values[name]}, is not a whole number")  # noqa: TRY004
    numbers = [values[token[1:]] if token[0] == "$" else int(token) for token in tokens[::2]]
    return _sum(text, numbers, tokens[1::2])


def _sum(text: str, numbers: list[int], operators: list[str]) -> int:
    """The result of the operators between the numbers."""
    total, sign, product = 0, 1, numbers[0]
    for operator, number in zip(operators, numbers[1:], strict=True):
        match operator:
            case "*":
                product *= number
            case "/":
                if not number or product % number:
                    raise ValueError(f"{text}: {product} / {number} is not a whole number")
                product //= number
            case _:
                total += sign * product
                sign, product = (1 if operator == "+" else -1), number
    return total + sign * product
