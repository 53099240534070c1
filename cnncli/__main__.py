"""`python -m cnncli` is `cnncli`."""

from cnncli.cli.app import main

if __name__ == "__main__":
    main()
