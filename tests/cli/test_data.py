"""`cnncli data`: its counts and statistics are those of the images, and its files can be read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnncli.data.digits import load_digits
from tests.data.folders import Folder, images, pets, write_folder

Cnncli = Callable[..., tuple[int, str, str]]


def test_digits_as_table_and_json(run_cnncli: Cnncli) -> None:
    digits = load_digits()
    code, shown, _ = run_cnncli("data", "digits")
    assert code == 0
    assert shown.startswith("digits: 1,294 training, 144 validation, 359 test images of 1 x 8 x 8\n")
    found = json.loads(run_cnncli("data", "digits", "--json")[1])
    counts = {name: each["per_class"] for name, each in found["splits"].items()}
    assert counts["test"] == np.bincount(digits.test.labels.numpy()).tolist()
    both = np.add(counts["train"], counts["val"])
    assert both.tolist() == np.bincount(digits.train.labels.numpy()).tolist()
    values = digits.train.images.numpy() / 255
    assert found["mean"][0] == pytest.approx(values.mean(), abs=3e-3), "that of all but the validation images"
    assert found["std"][0] == pytest.approx(values.std(), abs=3e-3)
    assert (found["size"], found["channels"], found["range"]) == ([8, 8], 1, None)


def test_a_folder_with_copies_across_splits(run_cnncli: Cnncli, folder: Path) -> None:
    random = np.random.default_rng(0)
    write_folder(folder / "pets", Folder(files=pets("train", "val", "test", each=3)))
    for path in (folder / "pets").rglob("*.png"):
        Image.fromarray(random.integers(0, 256, (48, 48), dtype=np.uint8)).save(path)
    for copy in ("val/cat/0.png", "test/dog/0.png"):
        shutil.copyfile(folder / "pets" / "train/cat/0.png", folder / "pets" / copy)
    found = json.loads(run_cnncli("data", "pets", "--json")[1])
    assert {name: each["per_class"] for name, each in found["splits"].items()} == {
        name: [3, 3] for name in ("train", "val", "test")
    }
    expected: dict[str, Any] = {"identical": 1, "similar": 0, "across_splits": 1, "labels_differ": 1}
    assert found["duplicates"] == expected
    assert "1 group of identical images" in run_cnncli("data", "pets")[1]


def test_the_sheet_shows_classes_and_augmentation(run_cnncli: Cnncli, folder: Path) -> None:
    config = "data: {name: digits, augment: {shift: 2}}\nmodel: {layers: [flatten, logits]}\n"
    (folder / "a.yaml").write_text(config)
    (folder / "b.yaml").write_text(config.replace("{shift: 2}", "{}"))
    for name in ("a", "b"):
        code, shown, _ = run_cnncli("data", f"{name}.yaml", "--out", f"{name}.png")
        assert (code, shown.splitlines()[-1]) == (0, f"{name}.png")
    with Image.open(folder / "a.png") as with_variants, Image.open(folder / "b.png") as without:
        assert with_variants.height > without.height
    code, _, said = run_cnncli("data", "digits", "--out", "sheet.jpg")
    assert code == 2
    assert "not a .png file" in said


def test_tables_and_arrays(run_cnncli: Cnncli, folder: Path) -> None:
    write_folder(folder / "set", Folder(files=images("a", "b", each=4)))
    rows = "".join(f"{name}/{number}.png,{name}\n" for name in ("a", "b") for number in range(4))
    (folder / "set" / "table.csv").write_text("path,label\n" + rows)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype=np.uint8)
    np.savez(folder / "arrays.npz", x_train=pixels, y_train=np.arange(20) % 2)
    assert json.loads(run_cnncli("data", "set/table.csv", "--json")[1])["classes"] == ["a", "b"]
    assert json.loads(run_cnncli("data", "arrays.npz", "--json")[1])["size"] == [6, 5]
