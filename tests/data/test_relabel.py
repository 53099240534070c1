"""Corrected labels: `data.relabel`."""

import csv
import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnncli.config.data import DataSpec
from cnncli.data.digits import load_digits
from cnncli.data.images import Dataset
from cnncli.data.load import load_dataset
from cnncli.data.relabel import write_corrections
from cnncli.errors import DataError, DiskError

DIGITS = DataSpec(name="digits", relabel="labels.csv")


def load(folder: Path, content: str | bytes, spec: DataSpec = DIGITS) -> Dataset:
    (folder / "labels.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return load_dataset(spec, data_dir=folder)


def problem(folder: Path, content: str | bytes, spec: DataSpec = DIGITS) -> str:
    with pytest.raises(DataError) as error:
        load(folder, content, spec)
    return error.value.message.replace(str(folder / "labels.csv"), "labels.csv")


@pytest.fixture
def pets(tmp_path: Path) -> DataSpec:
    """A folder of two cats and two dogs, and one of each for testing."""
    for split, name, number in (
        ("train", "cat", 1),
        ("train", "cat", 2),
        ("train", "dog", 1),
        ("train", "dog", 2),
        ("test", "cat", 1),
        ("test", "dog", 1),
    ):
        path = tmp_path / "pets" / split / name / f"{number}, é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 40 * number).save(path)
    return DataSpec(name="image-folder", path="pets", size=(4, 4), channels=1, relabel="labels.csv")


def test_labels_are_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = load_digits()
    old = before.train.labels[3].item(), before.test.labels[5].item()
    new = [(label + 1) % 10 for label in old]
    content = f"split,index,label\ntrain,3,{new[0]}\ntest,5,{new[1]}\ntrain,4,{before.train.labels[4]}\n"
    after = load(tmp_path, content)
    assert (after.train.labels != before.train.labels).nonzero().tolist() == [[3]]
    assert (after.test.labels != before.test.labels).nonzero().tolist() == [[5]]
    assert [after.train.labels[3].item(), after.test.labels[5].item()] == new
    assert torch.equal(after.train.images, before.train.images)
    checksum = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
    assert after.files == {**before.files, "data.relabel": checksum}
    assert caplog.messages == ["data.relabel: 1 training and 1 test labels differ from digits"]


def test_other_columns_blank_lines_and_files_of_spreadsheets(tmp_path: Path) -> None:
    first, second = load_digits().train.labels[:2].tolist()
    content = f'label,comment,given,index,split\r\n3,"smudged, but a 3",{first},0,train\r\n\r\n7,,,1,train\r\n'
    after = load(tmp_path, b"\xef\xbb\xbf" + content.encode())
    assert after.train.labels[:2].tolist() == [3, 7] != [first, second]


def test_images_of_a_folder_are_named_by_their_file(tmp_path: Path, pets: DataSpec) -> None:
    content = 'file,label\n"train/dog/1, é.png",cat\n"test/cat/1, é.png",dog\n'
    after = load(tmp_path, content, pets)
    assert after.train.labels.tolist() == [0, 0, 0, 1]
    assert after.test.labels.tolist() == [1, 1]
    assert after.train.paths == tuple(f"train/{name}/{i}, é.png" for name in ("cat", "dog") for i in (1, 2))


def test_files_of_a_folder_that_is_split_by_us(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(5):
            path = tmp_path / "pets" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), number).save(path)
    spec = DataSpec(name="image-folder", path="pets", size=(4, 4), channels=1)
    loaded = load_dataset(spec, data_dir=tmp_path)
    for part in (loaded.train, loaded.test):
        assert part.paths is not None
        for image, name in zip(part.images, part.paths, strict=True):
            assert Path(name).stem == str(image[0, 0, 0].item())
    assert loaded.test.paths is not None
    moved = loaded.test.paths[0]
    after = load(tmp_path, f"file,label\n{moved},dog\n", spec.model_copy(update={"relabel": "labels.csv"}))
    assert after.test.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("train,1438,3", "labels.csv:2 no train image 1438; there are 1,438, numbered 0 to 1437"),
        ("train,-1,3", "labels.csv:2 no train image -1; there are 1,438, numbered 0 to 1437"),
        ("train,²,3", "labels.csv:2 no train image ²; there are 1,438, numbered 0 to 1437"),
        ("test,3,eight", "labels.csv:2 unknown class: eight. Choose one of: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("val,3,8", "labels.csv:2 unknown split: val; train or test"),
        ("test,3,", "labels.csv:2 no label; delete the line to keep the label that the data set has"),
        ("test,3", "labels.csv:2 the line has more or fewer values than the header"),
        ("test,3,4,5", "labels.csv:2 the line has more or fewer values than the header"),
        ("test,3,4\ntrain,3,4\ntest,3,5", "labels.csv:4 the image has a label already, on line 2"),
        ('test,3,"4', "labels.csv:2 not CSV: unexpected end of data"),
    ],
)
def test_lines_that_do_not_fit(rows: str, message: str, tmp_path: Path) -> None:
    assert problem(tmp_path, f"split,index,label\n{rows}\n") == message


def test_the_given_label_must_be_that_of_the_data_set(tmp_path: Path) -> None:
    label = load_digits().test.labels[0].item()
    other = (label + 1) % 10
    found = problem(tmp_path, f"split,index,label,given\ntest,0,3,{other}\n")
    assert found == f"labels.csv:2 given {other}, but the data set says {label}: are these other images?"


def test_several_problems_are_listed(tmp_path: Path) -> None:
    rows = "".join(f"test,{index},x\n" for index in range(8))
    lines = problem(tmp_path, f"split,index,label\n{rows}").splitlines()
    assert [line.split()[0] for line in lines] == [*(f"labels.csv:{line}" for line in range(2, 7)), "and"]
    assert lines[-1] == "and 3 more"


def test_columns_that_are_missing(tmp_path: Path, pets: DataSpec) -> None:
    assert problem(tmp_path, "split,label\n") == "labels.csv:1 no column index; the columns are split, label"
    assert problem(tmp_path, "") == "labels.csv:1 no column split, index, label; the columns are none"
    found = problem(tmp_path, "split,index,label\ntrain,0,cat\n", pets)
    assert found == "labels.csv:1 no column file; the columns are split, index, label"
    assert problem(tmp_path, "file,label\ncat/1.png,cat\n", pets) == (
        "labels.csv:2 no image cat/1.png; files are relative to data.path"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.relabel: file not found: .*labels\.csv"):
        load_dataset(DIGITS, data_dir=tmp_path)
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(DataError, match=r"labels\.csv cannot be read: Is a directory"):
        load_dataset(DIGITS, data_dir=tmp_path)
    for path, reason in (("/proc/self/mem", "Input/output error"), ("/dev/zero", "more than .* bytes")):
        with pytest.raises(DataError, match=f"data.relabel: {path} cannot be read: {reason}"):
            load_dataset(DataSpec(name="digits", relabel=path), data_dir=tmp_path)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    assert problem(tmp_path, b"split,index,label\ntest,0,\xff\xfe\n").startswith("labels.csv:2 unknown class: ")


def test_a_path_outside_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("split,index,label\ntest,0,9\n")
    spec = DataSpec(name="digits", relabel=str(tmp_path / "mine.csv"))
    assert load_dataset(spec, data_dir=Path("nowhere")).test.labels[0] == 9


def test_what_is_written_is_read(tmp_path: Path, pets: DataSpec) -> None:
    path = tmp_path / "labels.csv"
    rows = [{"file": "train/dog/1, é.png", "label": "cat", "given": "dog", "note": 'a "cat"\nor not'}]
    write_corrections(path, iter(rows))
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    assert load_dataset(pets, data_dir=tmp_path).train.labels.tolist() == [0, 0, 0, 1]
    write_corrections(path, iter([]))
    assert load_dataset(DIGITS, data_dir=tmp_path).train.labels.tolist() == load_digits().train.labels.tolist()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        write_corrections(tmp_path / "missing" / "labels.csv", iter([]))
