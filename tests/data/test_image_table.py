"""Images that a CSV file names."""

from pathlib import Path

import pytest

from cnncli.audit.target import find_target
from cnncli.config.config import read_config
from cnncli.config.data import DataSpec, class_names
from cnncli.config.image_folder import natural_key
from cnncli.config.table import read_table
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.data.starter import look_at
from cnncli.errors import DataError
from tests.data.folders import Folder, write_folder


def load(folder: Path, table: str, **fields: object) -> Dataset:
    (folder / "set" / "labels.csv").write_text(table, encoding="utf-8", errors="surrogateescape")
    spec = {"name": "csv", "path": "set/labels.csv", "size": (4, 6), "channels": 1, **fields}
    return load_dataset(DataSpec.model_validate(spec), data_dir=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images, whose color is their number."""
    write_folder(tmp_path / "set", Folder(files={f"images/{number}.png": number for number in range(12)}))
    return tmp_path


ROWS = [(f"images/{number}.png", ("10", "2", "emu")[number % 3]) for number in range(12)]


def colors(part: object) -> list[int]:
    return [int(image[0, 0, 0]) for image in part.images]  # type: ignore[attr-defined]  # an image set


def test_paths_and_labels(folder: Path) -> None:
    found = load(folder, "path,label\n" + "".join(f"{path},{label}\n" for path, label in ROWS))
    assert found.classes == ("2", "10", "emu")
    assert (len(found.train), len(found.test), found.validation) == (10, 2, 0)
    assert sorted(colors(found.train) + colors(found.test)) == list(range(12))
    for part in (found.train, found.test):
        assert [found.classes[label] for label in part.labels.tolist()] == [ROWS[i][1] for i in colors(part)]
    assert found.train.paths is not None
    assert found.train.paths[0].startswith("images/")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_splits_other_names_and_delimiters(delimiter: str, folder: Path) -> None:
    parts = ["train"] * 6 + ["Val", "validation", "valid"] + ["test", "TEST", "testing"]
    lines = [("Split", "id", "Class", "file_name")]
    lines += [(part, str(i), label, path) for i, ((path, label), part) in enumerate(zip(ROWS, parts, strict=True))]
    table = "\ufeff" + "".join(delimiter.join(line) + "\r\n" for line in lines)
    found = load(folder, table)
    assert (colors(found.train), found.validation, colors(found.test)) == (list(range(9)), 3, [9, 10, 11])
    assert colors(load(folder, table, validation=0).train) == list(range(6))
    chosen = load(folder, table.replace("Class", "species"), columns={"label": "species"}, classes=["emu", "2"])
    assert chosen.classes == ("emu", "2")
    assert colors(chosen.train) == [1, 2, 4, 5, 7, 8]


def test_absolute_paths(folder: Path) -> None:
    whole = [(folder / "set" / path, label) for path, label in ROWS]
    found = load(folder, "image,label\n" + "".join(f"{path},{label}\n" for path, label in whole))
    assert sorted(colors(found.train) + colors(found.test)) == list(range(12))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a,b\n1,2\n", r"labels.csv:1 no column of paths; it has a, b"),
        ("", r"labels.csv:1 no column of paths; it has no columns"),
        ("path,label\nimages/0.png,a\nimages/0.png,b\n", r"labels.csv:3 images/0.png is there already, on line 2"),
        ("path,label,split\nimages/0.png,a,dev\n,b,test\n", r":2 unknown split: dev; train, val or test\n.*:3 no path"),
        ("path,label\nimages/0.png\n", "more or fewer values"),
        ("path,label\nimages/0.png,\udce1\n", "labels.csv:2 the label is not UTF-8 text"),
        ("path,label\nimages/0.png,a\nimages/1.png,a\n", "data.classes: .* has 1: a"),
        (
            "path,label\nimages/0.png,a\nimages/x.png,b\nimages/1.png,b\nimages/2.png,a\n",
            r"images/x.png \(No such file",
        ),
        ("path,label,split\nimages/0.png,a,train\nimages/1.png,b,test\n", "no training images of b"),
    ],
)
def test_what_is_no_table(table: str, message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(folder, table)


def test_folders_of_hugging_face(folder: Path) -> None:
    """A table in each folder, or one for all; found by `cnncli init` and `cnncli data`."""
    parts = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    for number, part in enumerate(parts):
        path = folder / "set" / part / "images" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / "set" / f"images/{number}.png").rename(path)
    (folder / "set" / "images").rmdir()
    rows = list(zip(ROWS, parts, strict=True))
    spec = DataSpec(name="csv", path="set", size=(4, 6), channels=1)

    def check() -> None:
        found = load_dataset(spec, data_dir=folder)
        assert (colors(found.train), found.validation, colors(found.test)) == ([*range(10)], 2, [10, 11])
        assert found.train.paths is not None
        assert found.train.paths[0] == "train/images/0.png"
        assert find_target(str(folder / "set"), data_dir=folder).data.name == "csv"
        assert (look_at(folder / "set").name, look_at(folder / "set").train) == ("csv", 8)

    for part in set(parts):
        table = "file_name,label\n" + "".join(f"{path},{label}\n" for (path, label), own in rows if own == part)
        (folder / "set" / part / "metadata.csv").write_text(table)
    check()
    whole = "file_name,label\n" + "".join(f"{part}/{path},{label}\n" for (path, label), part in rows)
    (folder / "set" / "metadata.csv").write_text(whole)
    check()
    (folder / "set" / "metadata.csv").unlink()
    for part in set(parts):
        (folder / "set" / part / "metadata.csv").unlink()
    with pytest.raises(DataError, match=r"set has no metadata\.csv"):
        load_dataset(spec, data_dir=folder)


def test_a_table_that_never_ends(folder: Path) -> None:
    (folder / "endless.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"endless\.csv cannot be read: more than .* bytes"):
        read_table(folder / "endless.csv", {})


def test_an_unknown_column_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no column lable\. Did you mean label"):
        load(folder, "path,label\nimages/0.png,a\n", columns={"label": "lable"})


def test_a_run_can_be_read_without_its_table(folder: Path) -> None:
    load(folder, "path,label\n" + "".join(f"{path},{label}\n" for path, label in ROWS))
    (folder / "a.yaml").write_text(
        "data: {name: csv, path: set/labels.csv, size: 8}\nmodel: {layers: [flatten, logits]}\n"
    )
    config = read_config(str(folder / "a.yaml"), data_dir=folder)
    (folder / "resolved.yaml").write_text(config.resolved(), encoding="utf-8")
    again = read_config(str(folder / "resolved.yaml"), data_dir=folder / "elsewhere")
    assert (again.classes, again.network) == (("2", "10", "emu"), config.network)
    assert class_names(DataSpec(name="csv", path="x", size=(8, 8), classes=3), folder) == ("0", "1", "2")


def test_natural_order() -> None:
    """By hand; Python refuses to read a number of 5,000 digits."""
    ordered = ["0", "1", "02", "2", "10", "1" * 5000, "a9", "a10", "b"]
    assert sorted(reversed(ordered), key=natural_key) == ordered
