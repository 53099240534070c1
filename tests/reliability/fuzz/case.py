"""One case of the fuzzer, and the generators of cases by kind."""

import random
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

RUN = "run"
"""The name of a copy of the trained run, among the files of a case that need one."""


@dataclass(frozen=True)
class Case:
    """A command, and the files in its working directory.

    Attributes:
        kind: which generator made it.
        arguments: of `cnncli`.
        files: path -> content; None removes the file of the run.
        run: whether the directory has a copy of the trained run.
    """

    kind: str
    arguments: tuple[str, ...]
    files: Mapping[str, bytes | None]
    run: bool = False

    def __str__(self) -> str:
        lines = [f"{self.kind}: cnncli {shlex.join(self.arguments)}"]
        for name, content in self.files.items():
            lines.append(f"--- {name}" if content is not None else f"--- {name} removed")
            if content is not None:
                lines.append(_shown(content))
        return "\n".join(lines)


def _shown(content: bytes) -> str:
    """Text as it is, other bytes as Python writes them; the first thousand."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return repr(content[:1000])
    return text[:1000] if text.isprintable() or "\n" in text else repr(text[:1000])


Generator = Callable[[random.Random], Case]


def chance(r: random.Random, probability: float) -> bool:
    """Whether something of this probability happens."""
    return r.random() < probability
