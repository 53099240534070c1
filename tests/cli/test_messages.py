"""The log of the package: shown on stderr by the program, and by nothing else."""

import logging
import subprocess
import sys

import pytest

from cnncli.cli.messages import print_notice, show_log

LIBRARY = "import logging, cnncli; logging.getLogger('cnncli.data').warning('not shown')"


def test_the_program_prints_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("cnncli.data.load")
    with show_log(print_notice):
        log.info("50% [done]")
        log.debug("a detail")
        logging.getLogger("PIL").warning("of another package")
    log.warning("afterwards")
    assert tuple(capsys.readouterr()) == ("", "50% [done]\n")


def test_the_innermost_one_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    log = logging.getLogger("cnncli.training")
    with show_log(print_notice):
        with show_log(shown.append):
            log.warning("inside")
        log.warning("outside")
    assert shown == ["inside"]
    assert capsys.readouterr().err == "outside\n"


def test_the_library_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LIBRARY], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
