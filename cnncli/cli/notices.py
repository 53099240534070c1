"""What the package logs, shown to the user as notices on stderr."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Handler(logging.Handler):
    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


@contextmanager
def show_log(show: Callable[[str], None]) -> Iterator[None]:
    """Pass the messages of the logger `cnncli` to `show`, and to nothing that showed them before."""
    logger = logging.getLogger("cnncli")
    handlers, level = logger.handlers, logger.level
    logger.handlers = [_Handler(show)]
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)


def print_notice(text: str) -> None:
    """Print a notice on stderr; rich is imported for the first one."""
    from cnncli.cli.render.console import show_notice

    show_notice(text)
