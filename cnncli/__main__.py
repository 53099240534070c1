"""The entry point of the program: `cnncli`, and `python -m cnncli`."""

import sys

from cnncli.cli.imports import garbage_collector_off


def main() -> None:
    """Run the program. Ctrl-C ends it without a traceback, also while it is being imported."""
    try:
        with garbage_collector_off():
            from cnncli.cli.app import main as run
        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
