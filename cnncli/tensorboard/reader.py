"""The pictures of a run, read back from its event files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]  # no stubs
    LegacyEventFileLoader,
)
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]  # generated, no stubs


@dataclass(frozen=True)
class LoggedPicture:
    """A picture as it was written at a step: the bytes of a PNG or GIF."""

    step: int
    content: bytes


def read_pictures(directory: Path) -> dict[str, list[LoggedPicture]]:
    """Every picture in the event files of a run, by tag, each with its steps rising.

    Where a run was resumed, what its earlier files say of that step and later ones no longer holds. A last record that
    a crash cut short does not count. Folders in the run are runs of their own.
    """
    pictures: dict[str, list[LoggedPicture]] = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for event in _events(path):
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                for kept in pictures.values():
                    _forget(kept, event.step)
            for value in event.summary.value:
                if value.HasField("image"):
                    kept = pictures.setdefault(value.tag, [])
                    _forget(kept, event.step)
                    kept.append(LoggedPicture(event.step, value.image.encoded_image_string))
    return {tag: kept for tag, kept in pictures.items() if kept}


def _events(path: Path) -> Iterator[Event]:
    yield from LegacyEventFileLoader(str(path)).Load()


def _forget(pictures: list[LoggedPicture], step: int) -> None:
    """Take away what is at `step` or later."""
    while pictures and pictures[-1].step >= step:
        pictures.pop()
