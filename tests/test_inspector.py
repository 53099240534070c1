"""`cnncli.inspect` from Python."""

import doctest

import cnncli.inspector


def test_the_example_in_its_documentation() -> None:
    assert doctest.testmod(cnncli.inspector, raise_on_error=False).failed == 0
