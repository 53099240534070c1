"""Moments of a training: something happens before the n-th call of a function."""

import importlib
from collections.abc import Callable
from types import ModuleType

Place = tuple[str, str, int]
"""A module or a class, its function, and the number of the call, from 1."""


def before_call(place: Place, action: Callable[[], None]) -> None:
    """Let something happen before the n-th call of a function."""
    where, name, number = place
    try:
        owner: ModuleType | type = importlib.import_module(where)
    except ImportError:
        module, _, cls = where.rpartition(".")
        owner = getattr(importlib.import_module(module), cls)
    function, calls = getattr(owner, name), 0

    def called(*arguments: object, **settings: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            action()
        return function(*arguments, **settings)

    setattr(owner, name, called)
