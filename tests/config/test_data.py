"""The `data:` section."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import cnncli
from cnncli.config.config import parse_config, read_config
from cnncli.config.data import DataSpec, NormalizeSpec, class_names, input_shape
from cnncli.config.image_folder import folder_layout
from cnncli.config.problems import problems_of
from cnncli.errors import ConfigError, DataError


def read(**fields: object) -> DataSpec:
    return DataSpec.model_validate(fields)


def folder(root: Path, *classes: str) -> Path:
    for name in classes:
        (root / name).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"name": "digits"}, (1, 8, 8)),
        ({"name": "digits", "size": 28, "channels": 3}, (3, 28, 28)),
        ({"name": "mnist", "size": [32, 24]}, (1, 32, 24)),
        ({"name": "cifar10"}, (3, 32, 32)),
        ({"name": "cifar10", "channels": 1}, (1, 32, 32)),
        ({"name": "emnist", "split": "letters"}, (1, 28, 28)),
        ({"name": "image-folder", "path": "cats", "size": 64}, (3, 64, 64)),
    ],
)
def test_input_shape(fields: dict[str, Any], shape: tuple[int, int, int]) -> None:
    assert input_shape(read(**fields)) == shape


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({}, (), "name is required"),
        ({"name": "minst"}, ("name",), "Did you mean mnist?"),
        ({"name": "mnist", "split": "letters"}, ("split",), "split is only for emnist; remove it for mnist"),
        ({"name": "emnist", "split": "all"}, ("split",), "byclass"),
        (
            {"name": "mnist", "path": "x"},
            ("path",),
            "path is only for image-folder, csv, parquet, npz, idx; remove it for mnist",
        ),
        ({"name": "mnist", "test": 0.2}, ("test",), "test is only for image-folder"),
        ({"name": "mnist", "skip_unreadable": True}, ("skip_unreadable",), "skip_unreadable is only for image-folder"),
        ({"name": "mnist", "classes": 10}, ("classes",), "must be a list of classes of mnist, found 10"),
        ({"name": "image-folder", "classes": 1}, ("classes",), "a whole number from 2 to 100,000, or a list"),
        ({"name": "image-folder", "classes": ["a"]}, ("classes",), "at least two different names"),
        ({"name": "image-folder", "classes": ["a", "b", "a"]}, ("classes",), "at least two different names"),
        ({"name": "image-folder", "classes": ["a", 3]}, ("classes",), "numbers in quotes, found ['a', 3]"),
        ({"name": "image-folder"}, (), "image-folder requires path and size"),
        ({"name": "image-folder", "path": "x"}, (), "image-folder requires size"),
        ({"name": "image-folder", "path": "x", "size": 8, "test": 0}, ("test",), "must be greater than 0"),
        ({"name": "image-folder", "path": "", "size": 8}, ("path",), "must not be empty"),
        ({"name": "mnist", "validation": 1.5}, ("validation",), "a whole number or a fraction"),
        ({"name": "mnist", "validation": -1}, ("validation",), "found -1"),
        ({"name": "mnist", "validation": True}, ("validation",), "found True"),
        ({"name": "mnist", "validation": float("nan")}, ("validation",), "found nan"),
        ({"name": "mnist", "channels": 2}, ("channels",), "found 2"),
        ({"name": "mnist", "size": 0}, ("size",), "greater than 0"),
        ({"name": "mnist", "augment": {"rotat": 5}}, ("augment", "rotat"), "Did you mean rotate?"),
        ({"name": "mnist", "augment": {"scale": 1.0}}, ("augment", "scale"), "less than 1"),
        (
            {"name": "mnist", "augment": {"flip": "left"}},
            ("augment", "flip"),
            "horizontal",
        ),
        (
            {"name": "mnist", "augment": {"elastic": {"sigma": 0}}},
            ("augment", "elastic", "sigma"),
            "greater than 0",
        ),
    ],
)
def test_invalid_sections(fields: dict[str, Any], where: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    problems = problems_of(caught.value, DataSpec, fields)
    assert problems[0].route == where
    assert message in problems[0].message


def test_a_scalar_stands_for_the_principal_field() -> None:
    augment = read(name="mnist", augment={"elastic": 2, "erase": 0.5}).augment
    assert (augment.elastic.alpha, augment.elastic.sigma) == (2.0, 4.0)
    assert (augment.erase.probability, augment.erase.area) == (0.5, 0.25)


def test_round_trip() -> None:
    for spec in (
        read(
            name="emnist",
            split="letters",
            size=[20, 30],
            validation=100,
            augment={"elastic": 1, "flip": "both"},
        ),
        read(name="image-folder", path="x", size=8, classes=3, test=0.5),
        read(name="image-folder", path="x", size=8, classes=["b", "a"]),
    ):
        assert read(**spec.model_dump(mode="json")) == spec


def test_class_names_of_known_data_sets(tmp_path: Path) -> None:
    assert class_names(read(name="mnist"), tmp_path) == tuple("0123456789")
    assert len(class_names(read(name="emnist"), tmp_path)) == 47


def test_class_names_of_a_folder(tmp_path: Path) -> None:
    folder(tmp_path / "pets", "train/dog", "train/cat", "train/.hidden", "test/cat")
    spec = read(name="image-folder", path="pets", size=8)
    assert class_names(spec, tmp_path) == ("cat", "dog")
    assert class_names(read(name="image-folder", path=str(tmp_path / "pets"), size=8), Path("/nowhere")) == (
        "cat",
        "dog",
    )


def test_class_names_without_the_folder(tmp_path: Path) -> None:
    assert class_names(read(name="image-folder", path="pets", size=8, classes=3), tmp_path) == ("0", "1", "2")
    with pytest.raises(DataError, match="folder not found") as caught:
        class_names(read(name="image-folder", path="pets", size=8), tmp_path)
    assert "data.classes" in (caught.value.remedy or "")


def test_classes_that_contradict_the_folder(tmp_path: Path) -> None:
    folder(tmp_path / "pets", "cat", "dog")
    with pytest.raises(DataError, match=r"3 classes declared, but .* has 2: cat, dog"):
        class_names(read(name="image-folder", path="pets", size=8, classes=3), tmp_path)


def test_names_of_classes_need_no_folder_and_select_folders(tmp_path: Path) -> None:
    spec = read(name="image-folder", path="pets", size=8, classes=["dog", "cat"])
    assert class_names(spec, tmp_path) == ("dog", "cat")
    folder(tmp_path / "pets", "train/cat", "train/dog", "train/owl", "test/owl")
    layout = folder_layout(tmp_path / "pets", classes=("dog", "cat"))
    assert (layout.classes, layout.unselected, layout.ignored) == (("dog", "cat"), ("owl",), ())
    with pytest.raises(DataError, match=r"has no folder emu; it has cat, dog, owl"):
        folder_layout(tmp_path / "pets", classes=("cat", "emu"))


@pytest.mark.parametrize("name", ["1e3", "no", "null", "007", "caf\u00e9", "a: b", "- x", "\x1b[31m"])
def test_a_resolved_config_names_the_classes_and_reads_back(name: str, tmp_path: Path) -> None:
    folder(tmp_path / "pets", "cat")
    try:
        folder(tmp_path / "pets", name)
    except (OSError, UnicodeError):
        pytest.skip("this system has no file of such a name")
    (tmp_path / "pets.yaml").write_text(
        "data: {name: image-folder, path: pets, size: 8}\nmodel: {layers: [flatten, logits]}\n"
    )
    config = read_config(str(tmp_path / "pets.yaml"), data_dir=tmp_path)
    (tmp_path / "resolved.yaml").write_text(config.resolved(), encoding="utf-8")
    again = read_config(str(tmp_path / "resolved.yaml"), data_dir=tmp_path / "elsewhere")
    assert set(again.classes) == {"cat", name}
    assert (again.classes, again.network) == (config.classes, config.network)
    assert again.resolved() == config.resolved().replace("name: pets\n", f"name: {again.name}\n")


def test_describing_data_needs_no_torch() -> None:
    program = "import sys, cnncli.config.data; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(cnncli.__file__).parents[1])


def make_folders(root: Path, *classes: str) -> Path:
    for name in classes:
        (root / name).mkdir(parents=True)
    return root


def test_layouts_of_image_folders(tmp_path: Path) -> None:
    divided = make_folders(tmp_path / "a", "train/x", "train/y", "test/x", "more")
    layout = folder_layout(divided)
    assert (layout.train, layout.test, layout.ignored) == (divided / "train", divided / "test", ("more",))
    plain = make_folders(tmp_path / "b", "bus", "test", "train")
    layout = folder_layout(plain)
    assert (layout.train, layout.test, layout.classes) == (plain, None, ("bus", "test", "train"))
    single = make_folders(tmp_path / "c", "cat")
    with pytest.raises(DataError, match="only the class folder cat"):
        folder_layout(single)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([3, 3], "must be auto or [lowest, highest], found [3, 3]"),
        ([4, 3], "[lowest, highest]"),
        ([0, float("nan")], "[lowest, highest]"),
        ([0, float("inf")], "[lowest, highest]"),
        ([0, True], "[lowest, highest]"),
        ([0, 1, 2], "[lowest, highest]"),
        ("12 bit", "[lowest, highest], found 12 bit"),
        (255, "found 255"),
    ],
)
def test_invalid_ranges(given: object, message: str) -> None:
    fields = {"name": "image-folder", "path": "x", "size": 8, "range": given}
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    problems = problems_of(caught.value, DataSpec, fields)
    assert problems[0].route[:1] == ("range",)
    assert message in problems[0].message


def test_ranges() -> None:
    spec = read(name="image-folder", path="x", size=8, range=[-1, 4095])
    assert spec.range == (-1.0, 4095.0)
    assert read(**spec.model_dump(mode="json")) == spec
    assert read(name="mnist", range="auto").range == "auto"
    with pytest.raises(ValidationError, match="range is only for image-folder"):
        read(name="mnist", range=[0, 1])


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("hue=0.1", "data.augment.hue: gray images have no color; remove it, or set data.channels to 3"),
        ("saturation=0.1", "data.augment.saturation: gray images have no color"),
        ("fill=[1, 1, 1]", "data.augment.fill: must have 1 value, one for each channel"),
        ("fill=2", "data.augment.fill: must be less than or equal to 1"),
        ("blur=51", "data.augment.blur: must be less than or equal to 50"),
        ("rand_augment=31", "data.augment.rand_augment: must be less than or equal to 30"),
        ("mixup=-1", "data.augment.mixup: must be greater than or equal to 0"),
        ("border=wrap", "data.augment.border: must be one of fill, edge, reflect"),
    ],
)
def test_augmentations_that_are_refused(field: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config("quickstart", data_dir=tmp_path, assignments=[f"data.augment.{field}"])
    assert problem in caught.value.message


def test_augmentations_of_color_images(tmp_path: Path) -> None:
    assignments = ["data.channels=3", "data.augment={hue: 0.1, fill: [1, 0.5, 0], crop: 0.5, cutout: 3, border: edge}"]
    config = read_config("quickstart", data_dir=tmp_path, assignments=assignments)
    assert config.data.augment.fill_values == (1, 0.5, 0)
    assert config.data.augment.active == ("crop", "hue", "cutout")
    again = parse_config(config.resolved(), name="resolved", data_dir=tmp_path)
    assert again.data.augment == config.data.augment


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("5", "data.normalize: must be true or false, found 5"),
        ("{mean: 0.1}", "data.normalize: std is required"),
        ("{mean: 0.1, std: 0}", "must be greater than or equal to 0.000001"),
        (
            "{mean: [0.1, 0.2], std: 1}",
            "mean must be one number, or one for each of 1 channels, found 2",
        ),
    ],
)
def test_normalizations_that_are_refused(value: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config("quickstart", data_dir=tmp_path, assignments=[f"data.normalize={value}"])
    assert problem in caught.value.message


def test_a_given_normalization_survives_in_the_resolved_config(tmp_path: Path) -> None:
    assignments = ["data.channels=3", "data.normalize={mean: [0.4, 0.5, 0.6], std: 0.2}"]
    config = read_config("quickstart", data_dir=tmp_path, assignments=assignments)
    assert config.data.normalize == NormalizeSpec(mean=(0.4, 0.5, 0.6), std=(0.2,))
    assert parse_config(config.resolved(), name="resolved", data_dir=tmp_path).data == config.data
