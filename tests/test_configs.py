"""The bundled configs: valid, described, with correct comments, and able to learn."""

import json
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import jsonschema
import pytest
import torch

import cnncli
from cnncli.cli.messages import show_log
from cnncli.config.config import Config, bundled_configs, read_config
from cnncli.config.datasets import known_dataset
from cnncli.config.document import read_document
from cnncli.config.schema import config_schema
from cnncli.experiment.setup import prepare
from cnncli.experiment.train import train_run
from cnncli.inspection.table import LayerTable
from cnncli.training.progress import Progress
from cnncli.training.run_directory import RunDirectory

CHECKOUT = Path(__file__).resolve().parents[1]
STARTER = CHECKOUT / "cnncli" / "cli" / "starter.yaml"
NOWHERE = Path("no such data directory")
STEPS = 3

every_config = pytest.mark.parametrize(
    "path", [pytest.param(each, id=each.stem) for each in bundled_configs().values()]
)


def read(path: Path, *assignments: str) -> Config:
    return read_config(str(path), data_dir=NOWHERE, assignments=assignments)


def table_of(path: Path) -> LayerTable:
    return cnncli.inspect(read(path))


def head_of(path: Path) -> str:
    """The comment at the head of a config, in one line."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def readme_rows() -> dict[str, list[str]]:
    """The table in the README: name -> data set, subject, accuracy, time."""
    _, _, section = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition("## Bundled configs\n")
    section, _, _ = section.partition("\n### ")
    rows = (line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `"))
    return {name.strip(" `"): [cell.strip(" `") for cell in cells] for name, *cells in rows if len(cells) == 4}


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    found = json.loads(json.dumps(config_schema()))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Descriptions


@every_config
def test_its_name_is_that_of_its_file(path: Path) -> None:
    assert read(path).name == path.stem


@every_config
def test_the_schema_accepts_it(path: Path, schema: jsonschema.Draft202012Validator) -> None:
    schema.validate(read_document(path).data)


def test_the_schema_accepts_the_starter(schema: jsonschema.Draft202012Validator) -> None:
    schema.validate(read_document(STARTER).data)
    read(STARTER)


@every_config
def test_its_head_has_subject_accuracy_and_time(path: Path) -> None:
    described, _, reached = head_of(path).partition(" Reached: ")
    assert re.search(r" Teaches: \w.+", described)
    assert re.search(r"\d ?%", reached), "accuracy"
    assert re.search(r"\d ?(s|min|seconds|minutes)\b", reached), "in how long"


@every_config
def test_the_readme_describes_it(path: Path) -> None:
    data, teaches, accuracy, time = readme_rows()[path.stem]
    assert data == read(path).data.name
    assert teaches
    figure = re.search(r"[\d.]+ ?%", accuracy)
    assert figure, "accuracy"
    assert figure[0] in head_of(path).partition(" Reached: ")[2]
    assert re.search(r"\d ?(s|min)\b", time)


def test_the_readme_describes_no_others() -> None:
    assert readme_rows().keys() == bundled_configs().keys()


# Numbers in their comments


@every_config
def test_parameters_and_macs_in_comments(path: Path) -> None:
    found = table_of(path)
    text = path.read_text(encoding="utf-8")
    for parameters, macs in re.findall(r"#.*?([\d,]+) parameters, ([\d,]+) MACs", text):
        assert (parameters, macs) == (f"{found.params:,}", f"{found.macs:,}")


# Config, part of a comment, layer, output shape, receptive field.
COMMENTS = [
    ("lenet5", "61,706 parameters, 416,520 MACs", "logits1", (10,), None),
    ("lenet5", "6 kernels: look at them", "conv1", (6, 28, 28), 5),
    ("lenet5", "16 kernels, each 6 deep", "conv2", (16, 10, 10), 14),
    ("lenet5", "16 maps of 5x5: 400 features", "flatten1", (400,), None),
    ("dilated", "receptive field: 3 pixels", "conv1", (12, 28, 28), 3),
    ("dilated", "# 7", "conv2", (16, 28, 28), 7),
    ("dilated", "# 15; with dilation 1 in all layers it would be 7", "conv3", (16, 28, 28), 15),
    ("inception", "8 + 16 + 8 + 8 = 40 maps", "inception1.branch1.concat", (40, 14, 14), 12),
    ("inception", "16 + 32 + 16 + 16 = 80 maps", "inception2.branch1.concat", (80, 7, 7), 30),
    ("quickstart", "8 kernels of 3x3: 8 feature maps", "conv1", (8, 16, 16), 3),
    ("quickstart", "16 kernels, each 8 deep", "conv2", (16, 8, 8), 8),
    ("nin", "one map per class", "class_maps", (10, 7, 7), None),
    ("starter", "32 maps of 4x4 become 512 features", "flatten1", (512,), None),
]


@pytest.mark.parametrize(("name", "comment", "layer", "shape", "size"), COMMENTS)
def test_shapes_and_receptive_fields_in_comments(
    name: str, comment: str, layer: str, shape: tuple[int, ...], size: int | None
) -> None:
    path = bundled_configs().get(name, STARTER)
    assert comment in path.read_text(encoding="utf-8")
    row = table_of(path)[layer]
    assert row.output_shape == shape
    assert size is None or row.receptive_field.size == (size, size)


def test_lenet5_has_the_published_numbers() -> None:
    found = table_of(bundled_configs()["lenet5"])
    assert (found.params, found.macs) == (61_706, 416_520)


def test_three_convolutions_without_dilation_see_7() -> None:
    flat = [f"model.layers.{i}.conv.dilation=1" for i in range(3)]
    table = cnncli.inspect(read(bundled_configs()["dilated"], *flat))
    assert table.rows[2].receptive_field.size == (7, 7)


# Training


@every_config
def test_it_learns_from_the_embedded_digits(path: Path, tmp_path: Path) -> None:
    """A few steps, and what a run writes before them."""
    small = ("train.epochs=1", "train.batch_size=8", "data.validation=0.9", "log.images=2", "log.probes=1")
    config = read(path, "data.name=digits", *small)
    experiment = prepare(config, data_dir=tmp_path, device=torch.device("cpu"))
    assert experiment.train.image_count == 144
    weights = {name: each.clone() for name, each in experiment.training.model.named_parameters()}
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    epochs = train_run(
        experiment,
        run,
        command=["cnncli", "train", path.stem],
        resumed=False,
        progress=Progress(),
        stop=lambda: experiment.training.step >= STEPS,
    )
    with show_log(pytest.fail):
        assert list(epochs) == []
    assert experiment.training.step == STEPS
    assert run.status().state == "interrupted"
    changed = experiment.training.model.named_parameters()
    assert [name for name, each in changed if torch.equal(each, weights[name])] == []


@every_config
def test_its_size_is_that_of_its_data_set(path: Path) -> None:
    """`size` is given, so that the network is the same on another data set."""
    there, here = read(path), read(path, "data.name=digits")
    assert there.network.input_shape == here.network.input_shape
    assert there.classes == known_dataset(there.data.name).classes
