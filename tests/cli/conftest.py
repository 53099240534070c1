"""Commands run in this process, as `main` runs them."""

import sys
from collections.abc import Callable

import pytest

from cnncli.cli.app import main

Done = tuple[int, str, str]
"""Exit code, stdout and stderr."""


@pytest.fixture
def cnncli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["cnncli", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run
