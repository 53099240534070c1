"""The program's way in: `cnncli`, and `python -m cnncli`."""

import gc
import sys


def main() -> None:
    """Run the program. Ctrl-C while it is still being imported ends it without a traceback."""
    # What is imported stays: to look for garbage in it is a tenth of the time of a short command. `ListedCommand` turns
    # the collector on again before a command does anything.
    gc.disable()
    try:
        from cnncli.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
