"""The entry point of the program: `cnncli`, and `python -m cnncli`."""

import os
import sys
from pathlib import Path

from cnncli.cli.imports import garbage_collector_off


def main() -> None:
    """Run the program. Ctrl-C ends it without a traceback, also while it is being imported."""
    _replace_closed_streams()
    try:
        with garbage_collector_off():
            from cnncli.cli.app import main as run
        run()
    except KeyboardInterrupt:
        sys.exit(130)


def _replace_closed_streams() -> None:
    """Let what is written to a closed stream (`cnncli >&-`) disappear, and nothing be read from one.

    Python has None in place of such a stream, and the next file that is opened would take its descriptor.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  until the process ends


if __name__ == "__main__":
    main()
