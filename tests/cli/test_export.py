"""`cnncli export`: what it prints, and what it says about wrong arguments."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cnncli.export import FORMATS

Cnncli = Callable[..., tuple[int, str, str]]


def test_it_prints_the_path_and_how_the_file_was_checked(trained: Path, run_cnncli: Cnncli, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "net.safetensors"
    code, stdout, stderr = run_cnncli("export", trained, "--format", "safetensors", "--out", out)
    assert (code, stdout) == (0, f"{out}\n")
    lines, _, difference = stderr.rpartition(" ")
    assert lines == (
        "comparing the file with the run on 359 test images, through safetensors\n"
        "  input: N x 1 x 8 x 8, float32 pixels, normalized\n"
        "  compared with the run on 359 test images: same predictions, largest difference of a logit"
    )
    assert 0 <= float(difference) < 1e-5
    weights = safetensors.torch.load_file(trained / "checkpoints" / "best" / "weights.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in safetensors.torch.load_file(out).items())


def test_json(trained: Path, run_cnncli: Cnncli, tmp_path: Path) -> None:
    """Without `--out`, the file is in the run."""
    trained = shutil.copytree(trained, tmp_path / "run")
    arguments = ("--format", "torch", "--with-preprocessing", "--images", 7, "--json")
    code, stdout, _ = run_cnncli("export", trained, *arguments)
    assert code == 0
    file = trained / "export" / "tiny.pt2"
    record = json.loads(stdout)
    assert 0 <= record.pop("largest_difference") < 1e-5
    assert record == {
        "file": str(file),
        "format": "torch",
        "input": "pixels",
        "input_shape": [1, 8, 8],
        "bytes": file.stat().st_size,
        "runtime": "torch.export",
        "compared": "test",
        "images": 7,
        "same_predictions": 7,
    }


def test_predictions_that_differ_are_counted(
    trained: Path, run_cnncli: Cnncli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tie: all logits are the same but for less than rounding, and the file has another largest one."""

    def ties(sign: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda images: 1e-6 * sign * torch.eye(10)[0].expand(len(images), -1)

    monkeypatch.setattr("cnncli.module.CnnModule.forward", lambda _, images: ties(1)(images))
    monkeypatch.setattr(type(FORMATS["safetensors"]), "load", lambda *_: ties(-1))
    out = ("--out", tmp_path / "net.safetensors")
    code, _, stderr = run_cnncli("export", trained, "--format", "safetensors", *out)
    assert code == 0
    assert stderr.endswith(
        "images: 0 the same prediction, the others tie within rounding, largest difference of a logit 2.0e-06\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing option '--format'"),
        (["--format", "tflite"], 2, "'onnx', 'torch', 'safetensors'"),
        (["--format", "torch", "--images", "0"], 2, "greater than or equal to 1"),
        (["--format", "safetensors", "--with-preprocessing"], 2, "has weights and no graph"),
        (["--format", "torch", "--out", "."], 2, "is a directory"),
        (["--format", "torch", "--out", "net.onnx"], 2, "use --format onnx"),
        (["--format", "torch", "--out", "tiny.yaml/net.pt2"], 7, "cannot be written"),
    ],
)
def test_wrong_arguments(trained: Path, run_cnncli: Cnncli, arguments: list[str], code: int, message: str) -> None:
    actual, stdout, stderr = run_cnncli("export", trained, *arguments)
    assert (actual, stdout) == (code, "")
    assert message in stderr


def test_not_a_run(run_cnncli: Cnncli) -> None:
    code, stdout, stderr = run_cnncli("export", "nowhere", "--format", "onnx")
    assert (code, stdout) == (5, "")
    assert "nowhere: does not exist" in stderr


def test_a_missing_package_comes_with_the_command_that_installs_it(
    trained: Path, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, stdout, stderr = run_cnncli("export", trained, "--format", "onnx")
    assert (code, stdout) == (2, "")
    assert stderr == ('error: ONNX needs the package onnxruntime, which is not installed\npip install "cnncli[onnx]"\n')


def test_a_package_that_cannot_be_imported_is_not_called_missing(
    trained: Path, run_cnncli: Cnncli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime.py").write_text('raise ImportError("libgomp.so.1: cannot open shared object file")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    code, _, stderr = run_cnncli("export", trained, "--format", "onnx")
    assert code == 2
    assert "onnxruntime, which cannot be imported: libgomp.so.1: cannot open" in stderr
