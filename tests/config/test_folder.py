"""Layouts of image folders."""

from pathlib import Path

import pytest

from cnncli.config.data import folder_layout
from cnncli.errors import DataError


def folder(root: Path, *classes: str) -> Path:
    for name in classes:
        (root / name).mkdir(parents=True)
    return root


def test_layouts(tmp_path: Path) -> None:
    parted = folder(tmp_path / "a", "train/x", "train/y", "test/x", "more")
    layout = folder_layout(parted)
    assert (layout.train, layout.test, layout.ignored) == (parted / "train", parted / "test", ("more",))
    plain = folder(tmp_path / "b", "bus", "test", "train")
    layout = folder_layout(plain)
    assert (layout.train, layout.test, layout.classes) == (plain, None, ("bus", "test", "train"))
    lonely = folder(tmp_path / "c", "cat")
    with pytest.raises(DataError, match="only the class folder cat"):
        folder_layout(lonely)
