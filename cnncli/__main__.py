"""The program's way in: `cnncli`, and `python -m cnncli`."""

import sys


def main() -> None:
    """Run the program. Ctrl-C while it is still being imported ends it without a traceback."""
    try:
        from cnncli.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
