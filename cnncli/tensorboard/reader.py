"""Reads the pictures of a run from its event files."""

from dataclasses import dataclass
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]  # no stubs
    LegacyEventFileLoader,
)
from tensorboard.compat.proto.event_pb2 import SessionLog  # type: ignore[import-untyped]  # generated, no stubs


@dataclass(frozen=True)
class LoggedPicture:
    """A picture of one step: the content of a PNG or GIF."""

    step: int
    content: bytes


def read_pictures(directory: Path) -> dict[str, list[LoggedPicture]]:
    """The pictures in the event files of a run: tag -> pictures, with ascending steps.

    If the run was resumed, its earlier files are ignored from that step on. A truncated last record is ignored.
    Subfolders are separate runs.
    """
    pictures: dict[str, list[LoggedPicture]] = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                for kept in pictures.values():
                    _remove_from(kept, event.step)
            for value in event.summary.value:
                if value.HasField("image"):
                    kept = pictures.setdefault(value.tag, [])
                    _remove_from(kept, event.step)
                    kept.append(LoggedPicture(event.step, value.image.encoded_image_string))
    return {tag: kept for tag, kept in pictures.items() if kept}


def _remove_from(pictures: list[LoggedPicture], step: int) -> None:
    """Remove the pictures of `step` and later ones."""
    while pictures and pictures[-1].step >= step:
        pictures.pop()
