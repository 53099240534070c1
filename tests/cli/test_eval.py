"""`cnncli eval` on a trained run: its JSON against results.json, torch and scikit-learn; other data; errors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

from cnncli.data.digits import load_digits
from cnncli.run import load_run
from tests.manifests import write_manifest

Cnncli = Callable[..., tuple[int, str, str]]
Evaluated = Callable[..., Any]


@pytest.fixture
def evaluated(run_cnncli: Cnncli) -> Evaluated:
    """Runs `cnncli eval --json`: arguments, what is printed on stderr -> the JSON object."""

    def run(*arguments: object, message: str = "") -> Any:
        code, out, err = run_cnncli("eval", *arguments, "--json", "--device", "cpu")
        assert code == 0
        assert err.endswith(f"{message}\n") if message else not err
        return json.loads(out)

    return run


@pytest.mark.parametrize("split", ["test", "val", "train"])
def test_loss_and_accuracy_are_those_of_the_results(split: str, trained: Path, evaluated: Evaluated) -> None:
    """To the last digit."""
    results = json.loads((trained / "results.json").read_text())[split]
    found = evaluated(trained, "--split", split)
    assert (found["loss"], found["accuracy"]) == (results["loss"], results["accuracy"])
    assert {each["class"]: each["recall"] for each in found["per_class"]} == results["per_class"]
    assert (found["run"], found["split"], found["data"], found["tta"]) == (str(trained), split, "digits", [])


def probabilities(run: Path, change: Callable[[torch.Tensor], torch.Tensor] = lambda images: images) -> torch.Tensor:
    """The softmax for the test images, normalized by hand."""
    opened, images = load_run(run, data_dir=Path()), load_digits().test.images.float()
    mean, std = opened.normalization.mean[0], opened.normalization.std[0]
    with torch.inference_mode():
        return torch.as_tensor(opened.model((change(images) / 255 - mean) / std).double().softmax(1))


def test_numbers_from_the_probabilities(trained: Path, evaluated: Evaluated) -> None:
    expected, labels = probabilities(trained), load_digits().test.labels
    found = evaluated(trained)
    assert found["confusion"] == confusion_matrix(labels, expected.argmax(1)).tolist()
    assert found["images"] == len(labels) == sum(each["support"] for each in found["per_class"])
    right, confidence = (expected.argmax(1) == labels).double(), expected.amax(1)
    bins = (confidence * 15).ceil().long()
    gaps = [abs(float((confidence - right)[bins == number].sum())) for number in range(1, 16)]
    assert found["ece"] == pytest.approx(sum(gaps) / len(labels), abs=1e-6)
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] < high


def test_the_table(trained: Path, run_cnncli: Cnncli) -> None:
    code, out, err = run_cnncli("eval", trained)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    results = json.loads((trained / "results.json").read_text())["test"]
    assert lines[0].startswith(str(trained))
    assert lines[1].startswith(f"accuracy {results['accuracy']:.2%}, 95% interval ")
    (seven,) = (line.split() for line in lines if line.startswith("7 "))
    assert seven[2] == f"{results['per_class']['7']:.2%}"
    assert "most frequent confusions" in lines


def write_folder(root: Path, names: list[str]) -> Path:
    """The test images of the digits as PNG files in class folders, with a name for each digit."""
    digits = load_digits().test
    for i, (image, label) in enumerate(zip(digits.images, digits.labels.tolist(), strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    return root


def test_a_folder_is_matched_by_name(trained: Path, evaluated: Evaluated, tmp_path: Path) -> None:
    """Class folders are sorted by name; the network has its classes in another order."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    manifest = run / "checkpoints" / "best" / "manifest.json"
    record = json.loads(manifest.read_text())
    record["preprocessing"]["classes"] = words
    write_manifest(manifest, record)
    folder = write_folder(tmp_path / "words", words)
    expected, found = evaluated(run), evaluated(run, "--data", folder)
    assert found["data"] == str(folder)
    assert (found["accuracy"], found["confusion"]) == (expected["accuracy"], expected["confusion"])
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert [each["class"] for each in found["per_class"]] == words
    shutil.rmtree(folder / "seven")
    fewer = evaluated(run, "--data", folder, message="has no images of seven")["per_class"]
    assert [each["class"] for each in fewer if not each["support"]] == ["seven"]


@pytest.fixture(scope="module")
def augmented(exit_code_of: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained with flips and shifts."""
    out = tmp_path_factory.mktemp("augmented")
    sets = ("data.augment={flip: horizontal, shift: 4}", "data.size=8", "log.images=0", "train.epochs=1")
    words = [word for each in sets for word in ("--set", each)]
    assert exit_code_of("train", "quickstart", "--out", out, "--quiet", *words) == 0
    (run,) = out.iterdir()
    return run


def test_probabilities_are_averaged_over_flips_and_shifts(augmented: Path, evaluated: Evaluated) -> None:
    """An image and its mirror image, both also shifted by two pixels in four directions."""

    def rolled(images: torch.Tensor, pixels: int, axis: int) -> torch.Tensor:
        moved = images.roll(pixels, axis)
        moved.narrow(axis, 0 if pixels > 0 else 8 + pixels, abs(pixels)).zero_()
        return moved

    def changes(images: torch.Tensor) -> list[torch.Tensor]:
        return [images, *(rolled(images, pixels, axis) for pixels in (-2, 2) for axis in (2, 3))]

    def all_changes(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([*changes(images), *changes(images.flip(3))])

    each = probabilities(augmented, all_changes).view(10, -1, 10)  # (variants, N, K)
    mean, labels = each.mean(0), load_digits().test.labels
    found = evaluated(augmented, "--tta")
    assert len(found["tta"]) == 10
    assert found["accuracy"] == (mean.argmax(1) == labels).double().mean().item()
    assert found["loss"] == pytest.approx(-mean[torch.arange(len(labels)), labels].log().mean().item(), abs=1e-5)
    assert found["confusion"] != evaluated(augmented)["confusion"], "averaging changes predictions"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--tta"], 2, "trained without flips and shifts"),
        (["--data", "mist"], 2, "no data set or folder mist. Did you mean mnist?"),
        (["--data", "fashion-mnist"], 4, "the network has no class T-shirt/top"),
        (["--data", "digits", "--split", "val"], 2, "no split val"),
        (["--split", "validation"], 2, "'validation'"),
        (["--tta", "--robustness"], 2, "use only one of them"),
        (["--robustness", "--images", "1"], 2, "--images"),
        (["--images", "100"], 2, "--images is only for --robustness"),
    ],
)
def test_errors(arguments: list[str], code: int, message: str, trained: Path, run_cnncli: Cnncli) -> None:
    found, out, err = run_cnncli("eval", trained, *arguments)
    assert (found, out) == (code, "")
    assert message in err


def test_robustness(trained: Path, evaluated: Evaluated, run_cnncli: Cnncli, tmp_path: Path) -> None:
    """Shifted by hand; the picture, and the same numbers as a table."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    found = evaluated(run, "--robustness", "--images", 120)["robustness"]
    chosen = torch.arange(0, 359, 3)  # every third: no more than 120
    labels, plain = load_digits().test.labels[chosen], probabilities(run)[chosen].argmax(1)
    assert found["images"] == len(chosen)
    assert found["accuracy"] == (plain == labels).double().mean().item()
    moved = []
    for axis, pixels in ((3, -1), (3, 1), (2, -1), (2, 1)):
        edge = 7 if pixels < 0 else 0

        def change(images: torch.Tensor, axis: int = axis, pixels: int = pixels, edge: int = edge) -> torch.Tensor:
            return images.roll(pixels, axis).index_fill(axis, torch.tensor([edge]), 0)

        moved.append(probabilities(run, change)[chosen].argmax(1))
    first = found["distortions"][0]
    assert (first["distortion"], first["strength"], first["label"]) == ("shift", 1, "1 px")
    assert first["accuracy"] == pytest.approx(sum((each == labels).double().mean().item() for each in moved) / 4)
    assert first["consistency"] == pytest.approx(sum((each == plain).double().mean().item() for each in moved) / 4)
    names = {each["distortion"] for each in found["distortions"]}
    assert names == {"shift", "rotation", "scale", "noise", "blur", "contrast", "thickness"}
    layers = {each["layer"]: each for each in found["layers"]}
    assert layers["conv1"]["equivariance_aligned"] == pytest.approx(1, abs=1e-9)
    assert layers["max_pool1"]["period"] == [2, 2]
    assert [each["pixels"] for each in layers["logits1"]["shifts"]] == [1, 2]
    with Image.open(found["picture"]) as picture:
        assert picture.width > 800
    code, out, _ = run_cnncli("eval", run, "--robustness", "--images", 120, "--device", "cpu")
    assert code == 0
    assert f"accuracy on distorted images: 120 images, {found['accuracy']:.2%} undistorted" in out
    row = next(line for line in out.splitlines() if line.startswith("shift"))
    assert row.split()[1:4] == ["1", "px", f"{first['accuracy']:.2%}"]
    assert row.count("█") == round(first["accuracy"] * 20)
    assert next(line for line in out.splitlines() if line.startswith("max_pool1")).split()[1:3] == ["2", "1.000"]
    assert out.splitlines()[-1] == found["picture"]
