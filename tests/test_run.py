"""A run, opened from Python: predictions for any image, evaluation, and what it needs the data set for."""

import io
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import cnncli
from cnncli.config.config import read_config
from cnncli.data.batches import Normalization
from cnncli.data.digits import load_digits
from cnncli.data.images import stratified_split
from cnncli.errors import ConfigError, DataError, RunError, UsageError
from cnncli.run import Run
from tests.manifests import write_manifest

FOLDER = """\
name: folder
data: {name: image-folder, path: pictures, classes: 2, size: 8, channels: 1, validation: 0.25, test: 0.25}
model: {layers: [flatten, logits]}
train: {epochs: 2, batch_size: 4}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the quickstart, on images of 8x8 as in the data set."""
    folder = tmp_path_factory.mktemp("run")
    return cnncli.train("quickstart", epochs=3, out=folder, data_dir=folder, overrides={"data.size": 8})


def test_predictions_are_those_of_the_model(run: Run) -> None:
    """Normalized by hand, with the statistics of the training images."""
    digits = load_digits()
    images = digits.test.images[:20]  # (20, 1, 8, 8)
    predictions = run.predict(images[:, 0].numpy())
    mean, std = run.normalization.mean[0], run.normalization.std[0]
    with torch.inference_mode():
        expected = run.model((images.float() / 255 - mean) / std).double().softmax(dim=1)
    for prediction, probabilities in zip(predictions, expected, strict=True):
        assert prediction.prediction == run.classes[int(probabilities.argmax())]
        assert prediction.probability == pytest.approx(float(probabilities.max()), abs=1e-6)
        assert [prediction.probabilities[name] for name in run.classes] == pytest.approx(
            probabilities.tolist(), abs=1e-6
        )
        assert list(prediction.probabilities.values()) == sorted(prediction.probabilities.values(), reverse=True)


Form = Callable[[npt.NDArray[np.uint8], Path], Any]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda image, path: image, id="(H, W)"),
        pytest.param(lambda image, path: image[:, :, None], id="(H, W, 1)"),
        pytest.param(lambda image, path: image[:, :, None].repeat(3, axis=2), id="(H, W, 3)"),
        pytest.param(lambda image, path: image[None], id="(1, H, W)"),
        pytest.param(lambda image, path: image[None, :, :, None], id="(1, H, W, 1)"),
        pytest.param(lambda image, path: image / 255, id="floating point"),
        pytest.param(lambda image, path: Image.fromarray(image), id="PIL"),
        pytest.param(lambda image, path: [Image.fromarray(image)], id="sequence"),
        pytest.param(lambda image, path: path, id="path"),
        pytest.param(lambda image, path: str(path), id="path as text"),
    ],
)
def test_every_form_of_an_image_gives_the_same_prediction(form: Form, run: Run, tmp_path: Path) -> None:
    image = load_digits().test.images[5, 0].numpy()
    Image.fromarray(image).save(tmp_path / "digit.png")
    (expected,) = run.predict(image)
    (prediction,) = run.predict(form(image, tmp_path / "digit.png"))
    assert prediction == expected
    assert repr(prediction) == f"<Prediction {expected.prediction}: {expected.probability:.2%}>"


def test_images_of_other_sizes_and_colors_are_converted(run: Run) -> None:
    image = load_digits().test.images[5, 0].numpy()
    large = Image.fromarray(image).resize((80, 80), Image.Resampling.NEAREST).convert("RGBA")
    assert run.predict(large)[0].prediction == run.predict(image)[0].prediction


def test_enlarged_negatives_on_a_sheet_are_recognized(run: Run) -> None:
    images = load_digits().test.images[:60, 0].numpy()
    sheets = np.full((60, 70, 40), 255, dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = number % 45, number % 15
        sheets[number, top : top + 24, left : left + 24] = 255 - image.repeat(3, axis=0).repeat(3, axis=1)
    names = [[each.prediction for each in run.predict(given)] for given in (images, sheets)]
    assert sum(raw == found for raw, found in zip(*names, strict=True)) >= 50
    stretched = [each.prediction for each in run.predict(sheets, invert="no", fit="none")]
    assert sum(raw == found for raw, found in zip(names[0], stretched, strict=True)) < 30


def test_no_images_give_no_predictions(run: Run) -> None:
    assert run.predict([]) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 3, 4, 5, 6), np.uint8), r"shape \(2, 3, 4, 5, 6\)"),
        (np.zeros(9, np.uint8), r"shape \(9,\)"),
        (np.zeros((0, 8), np.uint8), r"shape \(0, 8\)"),
        (np.zeros((1, 8, 8, 2), np.uint8), r"shape \(8, 8, 2\)"),
        (np.zeros((8, 8), np.int64), "int64"),
        (np.full((8, 8), 255.0), "float64"),
        (torch.zeros(1, 8, 8), "type Tensor is not an image"),
    ],
)
def test_what_is_not_an_image_is_an_error(image: Any, message: str, run: Run) -> None:
    with pytest.raises(UsageError, match=message):
        run.predict(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [("missing.png", r"missing\.png: No such file"), (__file__, "not an image"), (b"", "the image: empty")],
)
def test_a_file_that_cannot_be_decoded_is_an_error(image: Any, message: str, run: Run) -> None:
    with pytest.raises(DataError, match=message):
        run.predict(image)


def test_a_truncated_image_object_is_an_error(run: Run) -> None:
    content = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(content, "PNG")
    with pytest.raises(DataError, match="truncated"):
        run.predict(Image.open(io.BytesIO(content.getvalue()[:2000])))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_evaluation_is_that_of_the_results(split: str, run: Run) -> None:
    results = json.loads((run.path / "results.json").read_text())
    record = run.evaluate(split).as_record(run.classes)  # type: ignore[arg-type]  # one of the three
    assert record == results[split], "to the last digit"


def test_an_evaluation_computes_with_the_threads_of_the_training(run: Run) -> None:
    """The last digits depend on their number."""
    before, used = torch.get_num_threads(), set()
    assert run.threads == json.loads((run.path / "metadata.json").read_text())["threads"]
    with run.model.register_forward_pre_hook(lambda *_: used.add(torch.get_num_threads())):
        replace(run, threads=before + 2).evaluate()
        replace(run, threads=None).evaluate("val")
    assert used == {before + 2, before}
    assert torch.get_num_threads() == before


def test_images_and_weights_have_the_layout_of_the_training(tmp_path: Path) -> None:
    """The last digits depend on it."""
    changes = {"data.size": 8, "data.channels": 3, "log.images": 0}
    path = cnncli.train("quickstart", epochs=1, out=tmp_path, data_dir=tmp_path, overrides=changes).path
    resolved = path / "resolved.yaml"
    text = resolved.read_text("utf-8")
    assert "channels_last: auto" in text
    for setting in ("true", "false"):
        resolved.write_text(text.replace("channels_last: auto", f"channels_last: {setting}"), encoding="utf-8")
        run = cnncli.load_run(path)
        images, _ = next(run.batches().epoch(1))
        weights = next(each for each in run.model.parameters() if each.ndim == 4)
        for tensor in (images, weights):
            assert tensor.is_contiguous(memory_format=torch.channels_last) == (setting == "true")


def test_a_split_that_a_run_lacks_is_an_error(tmp_path: Path) -> None:
    run = cnncli.train("quickstart", epochs=1, out=tmp_path, data_dir=tmp_path, overrides={"data.validation": 0})
    with pytest.raises(UsageError, match="has no split val"):
        run.evaluate("val")


def test_settings_and_overrides_are_recorded(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 1, "optimizer": {"sgd": {"lr": 0.05}}, "ema": 0.9, "early_stopping": None}
    overrides = {"data.size": 8, "log.images": 0, "name": "mine"}
    run = cnncli.train("quickstart", out=tmp_path, data_dir=tmp_path, overrides=overrides, **settings)
    assert run.path.parent == tmp_path
    assert run.path.name.startswith("mine-")
    train = run.config.train
    assert (train.epochs, train.optimizer.lr, train.ema, run.config.data.size) == (1, 0.05, 0.9, (8, 8))
    again = cnncli.train(run.config, out=tmp_path, data_dir=tmp_path, epochs=2)
    assert (again.config.train.epochs, again.config.train.ema, again.config.name) == (2, 0.9, "mine")


def test_a_setting_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((ConfigError, UsageError), match=r"epoch.*epochs"):
        cnncli.train("quickstart", epoch=3, out=tmp_path, data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_it_logs_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cnncli")
    run = cnncli.train("quickstart", epochs=2, out=tmp_path, data_dir=tmp_path)
    run.predict(np.zeros((8, 8), np.uint8))
    assert capfd.readouterr() == ("", "")
    assert [message.partition(":")[0] for message in caplog.messages] == ["epoch 1/2", "epoch 2/2"]


@pytest.fixture
def folder_run(tmp_path: Path) -> Run:
    """A run trained on a folder of random images, 12 for each of two classes."""
    generator = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(12):
            pixels = generator.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{i}.png")
    (tmp_path / "folder.yaml").write_text(FOLDER, encoding="utf-8")
    return cnncli.train(tmp_path / "folder.yaml", out=tmp_path / "runs", data_dir=tmp_path)


def test_only_evaluation_needs_the_data_set(folder_run: Run, tmp_path: Path) -> None:
    image = np.full((8, 8), 40, np.uint8)
    (expected,) = folder_run.predict(image)
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    run = cnncli.load_run(folder_run.path, data_dir=tmp_path)
    assert not run.model.training
    assert run.classes == ("cat", "dog")
    assert run.table["logits1"].params == 2 * (64 + 1)
    assert run.predict(image) == [expected]
    with pytest.raises(DataError, match="pictures"):
        run.evaluate()


def test_training_images_that_change_later_change_no_prediction(folder_run: Run, tmp_path: Path) -> None:
    image = np.full((8, 8), 40, np.uint8)
    (expected,) = folder_run.predict(image)
    for path in (tmp_path / "pictures").rglob("*.png"):
        with Image.open(path) as picture:
            pixels = np.array(picture)
        Image.fromarray(pixels // 4).save(path)
    run = cnncli.load_run(folder_run.path, data_dir=tmp_path)
    assert run.predict(image) == [expected]
    assert run.normalization == folder_run.normalization


def test_the_normalization_is_stored_with_every_digit(run: Run) -> None:
    """Read by safetensors, and computed by NumPy from the images that were trained on."""
    digits, (kept, _) = load_digits(), stratified_split(load_digits().train.labels, 0.1, seed=0)
    pixels = digits.train.images[kept].numpy().astype(np.float64) / 255
    with safe_open(run.path / "checkpoints" / "best" / "weights.safetensors", framework="numpy") as file:
        stored = json.loads(file.metadata()["preprocessing"])
    assert (stored["channels"], stored["size"], stored["classes"]) == (1, [8, 8], list("0123456789"))
    assert stored["mean"] == pytest.approx([pixels.mean()], rel=1e-14)
    assert stored["std"] == pytest.approx([pixels.std()], rel=1e-12)
    assert run.normalization == Normalization.of(digits.train, kept)
    assert (*run.normalization.mean, *run.normalization.std) == (*stored["mean"], *stored["std"])


def change_preprocessing(run: Run, tmp_path: Path, preprocessing: object) -> Path:
    """A copy of a run whose manifest has another preprocessing."""
    path = tmp_path / "copy"
    shutil.copytree(run.path, path)
    manifest = path / "checkpoints" / "best" / "manifest.json"
    record = json.loads(manifest.read_text(encoding="utf-8"))
    write_manifest(manifest, record | {"preprocessing": preprocessing})
    return path


def test_a_run_without_stored_normalization_computes_it(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = cnncli.load_run(change_preprocessing(run, tmp_path, None), data_dir=tmp_path)
    assert old.normalization == run.normalization
    assert ["does not store its normalization" in message for message in caplog.messages] == [True]


def test_a_preprocessing_that_cannot_be_read_is_damage(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last checkpoint is used instead."""
    opened = cnncli.load_run(change_preprocessing(run, tmp_path, {"mean": [0.5]}))
    assert opened.preprocessing == run.preprocessing
    assert "best/manifest.json: the checkpoint is damaged: preprocessing.channels is missing" in caplog.text


@pytest.mark.parametrize("change", [{"classes": ["1"]}, {"size": [1, 1]}, {"std": [1.0, 1.0]}])
def test_a_preprocessing_of_another_network_is_an_error(change: dict[str, object], run: Run, tmp_path: Path) -> None:
    assert run.preprocessing is not None
    with pytest.raises(RunError, match=r"the preprocessing in manifest\.json is of another network"):
        cnncli.load_run(change_preprocessing(run, tmp_path, run.preprocessing.as_record() | change))


def test_a_directory_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        cnncli.load_run(tmp_path)


def test_the_config_is_that_of_the_run(run: Run) -> None:
    assert run.config.network == read_config(str(run.path / "resolved.yaml"), data_dir=run.path).network
    assert repr(run) == f"<Run {run.path}: epoch {run.epoch}>"
