"""The folder that an audit is written to: its record, contact sheets, and the suggested labels."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath

from cnncli.audit.audit import Audit, Duplicates, ImageRef, LabelIssue
from cnncli.audit.target import Target
from cnncli.data.relabel import write_corrections
from cnncli.drawing.color import Pixels
from cnncli.drawing.image import image_pixels, png
from cnncli.drawing.sheet import Cell, Section, draw_sections, fit_panels
from cnncli.drawing.text import Name, Words
from cnncli.files import create_directory, replace_file

RECORD, CORRECTIONS, LABELS_SHEET, DUPLICATES_SHEET = "audit.json", "labels.csv", "labels.png", "duplicates.png"

_TILE = 96
"""Pixels for the longer side of an image. Larger ones are subsampled."""


@contextmanager
def audit_folder(out: Path, target: Target, now: datetime) -> Iterator[Path]:
    """A new folder, `<out>/<data>-<YYYYmmdd-HHMMSS>`, that is removed if the audit fails before anything is written.

    Args:
        out: the folder for it, created if it is missing.
        target: what is audited.
        now: the time in the name of the folder.

    Raises:
        DiskError: it cannot be created.
    """
    existed = out.exists()
    folder = create_directory(out, f"{target.name}-{now:%Y%m%d-%H%M%S}")
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # not empty: something was written
            folder.rmdir()
            if not existed:
                out.rmdir()
        raise


def write_audit(audit: Audit, folder: Path, *, most: int) -> None:
    """Write `RECORD` and `CORRECTIONS`, and a sheet where there is something to show.

    Args:
        audit: what was found.
        folder: where to write it.
        most: label issues, and groups of duplicates, on a contact sheet.

    Raises:
        DiskError: it cannot be written.
    """
    record = json.dumps(audit.as_record(), indent=2, ensure_ascii=True, allow_nan=False)
    replace_file(folder / RECORD, f"{record}\n".encode())
    write_corrections(folder / CORRECTIONS, audit.correction_rows())
    if audit.issues:
        replace_file(folder / LABELS_SHEET, png(draw_issues(audit, audit.issues[:most])))
    if audit.duplicates:
        replace_file(folder / DUPLICATES_SHEET, png(draw_duplicates(audit, audit.duplicates[:most])))


def draw_issues(audit: Audit, issues: Sequence[LabelIssue]) -> Pixels:
    """A contact sheet of labels that are probably wrong, (H, W, 3): each image, its label and what it looks like."""
    panels = [fit_panels([image_pixels(audit.image(issue.image))], side=_TILE) for issue in issues]
    cells = [
        Cell(
            panels=panel,
            below=(
                ["labeled ", Name(issue.image.label)],
                ["looks like ", Name(issue.suggested)],
                f"{issue.probability:.1%}",
                [Name(_place(issue.image))],
            ),
        )
        for panel, issue in zip(panels, issues, strict=True)
    ]
    count = len(audit.issues)
    return draw_sections(
        [Section(cells=cells)],
        title=f"{audit.target.name}: {len(issues)} of {count:,} labels that are probably wrong, most suspicious first",
        captions=["Below each: its label, the class that it looks like with its probability, and where it is."],
    ).pixels


def draw_duplicates(audit: Audit, groups: Sequence[Duplicates]) -> Pixels:
    """A contact sheet of duplicates, (H, W, 3): two images of each group side by side."""
    cells = []
    for group in groups:
        shown = _most_different(group)
        panels = fit_panels([image_pixels(audit.image(image)) for image in shown], side=_TILE)
        more = len(group.images) - len(shown)
        what = "identical" if group.identical else f"correlation {rounded_down(group.similarity)}"
        lines: list[Words] = [[Name(f"{image.label}: {_place(image)}")] for image in shown]
        lines.append(what + (f", {more} more" if more else ""))
        cells.append(Cell(panels=panels, below=lines))
    return draw_sections(
        [Section(cells=cells)],
        title=f"{audit.target.name}: {len(groups)} of {len(audit.duplicates):,} groups of duplicates",
        captions=["Different labels first, then training and test images. Below each: labels, and where they are."],
        side_by_side=True,
    ).pixels


def _most_different(group: Duplicates) -> Sequence[ImageRef]:
    """The first image of a group, and one with another label, or else of another split, if there is one."""
    first, *others = group.images
    return [first, min(others, key=lambda image: (image.label == first.label, image.split == first.split))]


def rounded_down(correlation: float) -> str:
    """A correlation below 1 with four digits, never 1.0000."""
    return f"{math.floor(correlation * 10_000) / 10_000:.4f}"


def _place(image: ImageRef) -> str:
    """Short enough for a cell: of a file its name, whose folder is the class."""
    return f"{image.split} {image.index}" if image.file is None else f"{image.split} {PurePosixPath(image.file).name}"
