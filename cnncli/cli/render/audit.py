"""What `cnncli audit` prints: suspicious labels, duplicates, the files, and what to do with them."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from cnncli.audit.audit import Audit, Duplicates, ImageRef
from cnncli.audit.output import CORRECTIONS, rounded_down
from cnncli.cli.render.console import out
from cnncli.cli.render.table import show_lines
from cnncli.inspection.columns import counted
from cnncli.inspection.formatting import Line, Span, align


def show_audit(audit: Audit, folder: Path, *, most: int) -> None:
    """Print the most suspicious labels, the duplicates that matter, and the files.

    Args:
        audit: what was found.
        folder: where it was written.
        most: rows of a table.
    """
    console = out()
    show_lines(_issue_lines(audit, most=most, width=console.width))
    show_lines(_duplicate_lines(audit, most=most, width=console.width))
    console.print(Text("\n".join(str(path) for path in sorted(folder.iterdir()))), soft_wrap=True)
    if audit.issues:
        path = shlex.quote(str((folder / CORRECTIONS).absolute()))
        console.print(
            Text(
                f"next: check {CORRECTIONS}, delete the lines whose given label is right, and use the others:\n"
                f"  cnncli train CFG --set data.relabel={path}"
            ),
            soft_wrap=True,
        )


def _issue_lines(audit: Audit, *, most: int, width: int) -> list[Line]:
    """The table of label issues under their number."""
    train, test = (sum(issue.image.split == split for issue in audit.issues) for split in ("train", "test"))
    images = len(audit.dataset.train) + len(audit.dataset.test)
    found = f"{train + test:,} of {images:,} labels are probably wrong: {train:,} training and {test:,} test labels"
    lines: list[Line] = [[(found, "bold")]]
    if audit.issues:
        headings, numeric = _place_headings(audit)
        rows: list[list[Span]] = [
            [
                *_place(issue.image),
                (issue.image.label, ""),
                (issue.suggested, "yellow"),
                (f"{issue.probability:.1%}", ""),
                (f"{issue.given_probability:.1%}", ""),
            ]
            for issue in audit.issues[:most]
        ]
        lines += align(
            [*headings, "given", "suggested", "probability", "of given"],
            rows,
            numeric=[*numeric, False, False, True, True],
            width=width,
        )
        if len(audit.issues) > most:
            lines.append([(f"and {len(audit.issues) - most:,} more", "dim")])
    return [*lines, []]


def _duplicate_lines(audit: Audit, *, most: int, width: int) -> list[Line]:
    """The numbers of duplicates, and a table of those with different labels or in both splits."""
    lines: list[Line] = [[(text, "bold")] for text in _counts(audit.duplicates)]
    important = [group for group in audit.duplicates if group.labels_differ or group.across_splits]
    if important:
        headings, numeric = _place_headings(audit)
        rows: list[list[Span]] = []
        for group in important[:most]:
            shown = "identical" if group.identical else rounded_down(group.similarity)
            color = "yellow" if group.labels_differ else ""
            for image in group.images:
                rows.append([(shown, ""), *_place(image), (image.label, color)])
                shown = ""  # once for each group
        lines += align(["correlation", *headings, "given"], rows, numeric=[False, *numeric, False], width=width)
        if len(important) > most:
            lines.append([(f"and {len(important) - most:,} more groups", "dim")])
    return [*lines, []]


def _counts(duplicates: Sequence[Duplicates]) -> list[str]:
    """One line for identical images and one for near-duplicates, where there are any."""
    if not duplicates:
        return ["no duplicates"]
    texts = []
    for identical, what in ((True, "identical images"), (False, "near-duplicates")):
        groups = [group for group in duplicates if group.identical == identical]
        if not groups:
            continue
        across = sum(group.across_splits for group in groups)
        differ = sum(group.labels_differ for group in groups)
        details = f"{across:,} in training and test images, {differ:,} with different labels"
        texts.append(f"{counted(len(groups), 'group')} of {what}: {details}")
    return texts


def _place_headings(audit: Audit) -> tuple[list[str], list[bool]]:
    """The columns that say where an image is, and whether they are numeric."""
    return (["split", "index"], [False, True]) if audit.dataset.train.paths is None else (["file"], [False])


def _place(image: ImageRef) -> list[Span]:
    return [(image.split, ""), (f"{image.index}", "")] if image.file is None else [(image.file, "")]
