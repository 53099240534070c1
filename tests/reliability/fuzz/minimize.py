"""Makes a failing case smaller: without words, files, lines and bytes that its failure does not need."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tests.reliability.fuzz.case import Case
from tests.reliability.fuzz.runner import run_cases

_MOST_RUNS = 150
Part = TypeVar("Part")


def minimize(case: Case, failure: str, run: Path) -> Case:
    """The smallest case found that fails in the same way, within a number of runs."""
    left = _MOST_RUNS

    def still_fails(changed: Case) -> bool:
        nonlocal left
        left -= 1
        [result] = run_cases([changed], run)
        return result.failure == failure

    def smaller(parts: Sequence[Part], rebuilt: Callable[[Sequence[Part]], Case]) -> Sequence[Part]:
        return reduce(parts, lambda some: left > 0 and still_fails(rebuilt(some)))

    words = smaller(case.arguments[1:], lambda some: replace(case, arguments=(case.arguments[0], *some)))
    case = replace(case, arguments=(case.arguments[0], *words))
    names = smaller([*case.files], lambda some: replace(case, files={name: case.files[name] for name in some}))
    case = replace(case, files={name: case.files[name] for name in names})
    for name in names:
        content = case.files[name]
        if content is None:
            continue
        lines = smaller(content.splitlines(keepends=True), _with(case, name))
        case = _with(case, name)(lines)
        pieces = b"".join(lines)
        units = smaller([pieces[i : i + 1] for i in range(len(pieces))], _with(case, name))
        case = _with(case, name)(units)
    return case


def _with(case: Case, name: str) -> Callable[[Sequence[bytes]], Case]:
    return lambda parts: replace(case, files={**case.files, name: b"".join(parts)})


def reduce(parts: Sequence[Part], fails: Callable[[Sequence[Part]], bool]) -> Sequence[Part]:
    """Delta debugging (Zeller and Hildebrandt, 2002): parts without which it still fails are left out.

    Args:
        parts: with which it fails.
        fails: whether it fails with some of them, in their order.
    """
    size = len(parts)
    while size >= 1 and parts:
        start, removed = 0, False
        while start < len(parts):
            some = [*parts[:start], *parts[start + size :]]
            if fails(some):
                parts, removed = some, True
            else:
                start += size
        if size == 1 and not removed:
            break
        size = max(1, size // 2) if size > 1 else 1
    return parts
