"""`cnncli.inspect` from Python."""

import doctest

import cnncli.capture.target


def test_the_example_in_its_documentation() -> None:
    assert doctest.testmod(cnncli.capture.target, raise_on_error=False).failed == 0
