"""The checks of the installation, on installations that are broken in one way each."""

import gzip
import hashlib
import json
import os
import shutil
import struct
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cnncli import doctor
from cnncli.config.datasets import known_dataset
from cnncli.data.verify import Checksums
from cnncli.doctor import EXTRAS, PACKAGES, DataSetState, Device, Diagnosis, TorchFacts, examine
from cnncli.training.run_directory import RunDirectory

CHECKOUT = Path(__file__).resolve().parents[1]
WORKING = TorchFacts(version="2.14.1", threads=2, devices=(Device(name="cpu", model="a processor"),))
WITH_GPUS = replace(WORKING, devices=(*WORKING.devices, Device(name="cuda:0"), Device(name="mps", unavailable="none")))


@pytest.fixture(autouse=True)
def _working_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that imports torch takes seconds; most tests are about something else."""
    monkeypatch.setattr(doctor, "torch_facts", lambda: WORKING)


def examined(folder: Path) -> Diagnosis:
    return examine(data_dir=folder / "data", runs_dir=folder / "runs")


def states(folder: Path) -> dict[str, DataSetState]:
    return {state.name: state for state in examined(folder).data_sets}


def test_a_working_installation_has_no_problems(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert found.problems == []
    assert found.as_json()["ok"] is True
    assert set(found.versions) == {"cnncli", "python", *PACKAGES}
    assert None not in found.versions.values()
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_packages_and_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {each.split(">")[0].lower() for each in project["dependencies"]} == {each.lower() for each in PACKAGES}
    extras = {
        name: tuple(each.split(">")[0] for each in packages)
        for name, packages in project["optional-dependencies"].items()
        if name != "dev"
    }
    assert {name: packages for name, (_, packages) in EXTRAS.items()} == extras


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    (problem,) = examined(tmp_path).problems
    assert problem.exit_code == 1
    assert problem.remedy == "pip install no-such-package"


def test_a_missing_extra_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"odd": ("odd things", ("numpy", "no-such-package"))})
    found = examined(tmp_path)
    assert found.problems == []
    assert [(each.name, each.missing, each.install) for each in found.extras] == [
        ("odd", ("no-such-package",), 'pip install "cnncli[odd]"')
    ]


# torch


def printed_facts(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What the process that imports torch prints, printed by this one, which has imported it already."""
    doctor.print_torch_facts()
    facts = json.loads(capsys.readouterr().out)
    assert isinstance(facts, dict)
    return facts


@pytest.mark.slow  # it imports torch once more
def test_torch_is_asked_in_another_process(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = doctor.torch_facts()
    assert found.error is None
    assert found.torchvision_error is None
    assert found.version == torch.__version__
    assert found.devices[0].name == "cpu"
    names = [each["name"] for each in json.loads(json.dumps(printed_facts(capsys)["devices"]))]
    assert names == [each.name for each in found.devices]


def test_torchvision_of_another_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    facts = printed_facts(capsys)
    assert facts["error"] is None
    assert facts["torchvision_error"] == "RuntimeError: operator torchvision::nms does not exist"
    monkeypatch.setattr(doctor, "torch_facts", lambda: replace(WORKING, torchvision_error="nms does not exist"))
    (problem,) = examined(tmp_path).problems
    assert problem.exit_code == 4, "only downloads need it"
    assert "nms does not exist" in problem.message
    assert "pip install --force-reinstall torch torchvision\n" in (problem.remedy or "")
    assert "https://download.pytorch.org/whl/cpu" in (problem.remedy or "")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise ImportError("libcudart.so: cannot open\\nmore")', "ImportError: libcudart.so: cannot open"),
        ("import os; os.kill(os.getpid(), 9)", "importing torch ended Python with signal 9"),
        ("import sys; sys.exit(3)", "importing torch ended Python with exit code 3"),
    ],
)
def test_torch_that_cannot_be_imported(
    source: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (tmp_path / "torch.py").write_text(source + "\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(CHECKOUT)]))
    found = examined(tmp_path)
    assert found.torch.error == expected
    (problem,) = found.problems
    assert problem.exit_code == 8
    assert expected in problem.message


# Environment variables


@pytest.mark.parametrize(
    ("name", "value", "exit_code"),
    [
        ("CNNCLI_DEVICE", "gpu", 2),
        ("CNNCLI_DEVICE", "mps", 8),
        ("CNNCLI_DEVICE", "cuda:1", 8),
        ("CNNCLI_THREADS", "0", 2),
        ("CNNCLI_THREADS", "100000", 2),
        ("CNNCLI_THREADS", "all", 2),
    ],
)
def test_a_variable_that_no_command_accepts(
    name: str, value: str, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "torch_facts", lambda: WITH_GPUS)
    monkeypatch.setenv(name, value)
    found = examined(tmp_path)
    assert found.environment == {name: value}
    (problem,) = found.problems
    assert (problem.exit_code, problem.message.startswith(name)) == (exit_code, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("CNNCLI_DEVICE", "auto"), ("CNNCLI_DEVICE", "cuda"), ("CNNCLI_DEVICE", "cuda:0"), ("CNNCLI_THREADS", "8")],
)
def test_a_variable_that_commands_accept(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "torch_facts", lambda: WITH_GPUS)
    monkeypatch.setenv(name, value)
    assert examined(tmp_path).problems == []


# Data sets


def idx(*shape: int) -> bytes:
    """An IDX file of zeros."""
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + bytes(torch.Size(shape).numel())


MNIST_FILES = {
    "train-images-idx3-ubyte": idx(2, 28, 28),
    "train-labels-idx1-ubyte": idx(2),
    "t10k-images-idx3-ubyte": idx(1, 28, 28),
    "t10k-labels-idx1-ubyte": idx(1),
}


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a tiny MNIST, whose checksums count as the published ones."""
    contents = {name: hashlib.md5(content).hexdigest() for name, content in MNIST_FILES.items()}
    archives = {f"{name}.gz": "of another packing" for name in MNIST_FILES}
    tiny = replace(known_dataset("mnist"), md5=contents | archives)
    monkeypatch.setattr(
        doctor, "known_dataset", lambda name, split=None: tiny if name == "mnist" else known_dataset(name, split)
    )
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in MNIST_FILES.items():
        (folder / name).write_bytes(content)
    return folder


def test_no_data(tmp_path: Path) -> None:
    found = states(tmp_path)
    assert found.pop("digits").state == "included"
    assert {each.state for each in found.values()} == {"absent"}
    assert set(found) == {"mnist", "fashion-mnist", "kmnist", "cifar10", "emnist"}


def test_intact(mnist: Path, tmp_path: Path) -> None:
    assert states(tmp_path)["mnist"].state == "intact"
    assert examined(tmp_path).problems == []


def test_intact_and_gzipped_by_anyone(mnist: Path, tmp_path: Path) -> None:
    for name, content in MNIST_FILES.items():
        (mnist / name).unlink()
        (mnist / f"{name}.gz").write_bytes(gzip.compress(content, mtime=7))
    assert states(tmp_path)["mnist"].state == "intact"


def test_kmnist_gzipped_by_anyone(tmp_path: Path) -> None:
    """The checksums of its content are not published."""
    folder = tmp_path / "data" / "KMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in MNIST_FILES.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    assert states(tmp_path)["kmnist"].state == "complete"
    (folder / f"{name}.gz").write_bytes(gzip.compress(content)[:-9])
    assert states(tmp_path)["kmnist"] == DataSetState(name="kmnist", state="damaged", files=(f"{name}.gz",))


def test_other_data_sets_are_listed_if_they_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"label 1:0.5"
    usps = replace(known_dataset("usps"), md5={"usps.bz2": hashlib.md5(content).hexdigest(), "usps.t.bz2": "other"})
    monkeypatch.setattr(
        doctor, "known_dataset", lambda name, split=None: usps if name == "usps" else known_dataset(name, split)
    )
    for name in ("usps.bz2", "cifar-100-python/train", "stl10_binary/train_y.bin", "test_32x32.mat"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = states(tmp_path)
    assert found["usps"] == DataSetState(name="usps", state="incomplete", files=("usps.t.bz2",))
    damaged = {name: state.files for name, state in found.items() if state.state == "damaged"}
    assert damaged == {"cifar100": ("train",), "stl10": ("train_y.bin",), "svhn": ("test_32x32.mat",)}
    (tmp_path / "data" / "usps.t.bz2").write_bytes(content)
    usps.md5["usps.t.bz2"] = usps.md5["usps.bz2"]  # type: ignore[index]  # a dict
    assert states(tmp_path)["usps"].state == "intact"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged(suffix: str, mnist: Path, tmp_path: Path) -> None:
    name = "train-labels-idx1-ubyte"
    changed = MNIST_FILES[name][:-1] + b"\x01"
    (mnist / name).unlink()
    (mnist / f"{name}{suffix}").write_bytes(gzip.compress(changed) if suffix else changed)
    found = examined(tmp_path)
    assert DataSetState(name="mnist", state="damaged", files=(name + suffix,)) in found.data_sets
    (problem,) = found.problems
    assert problem.exit_code == 4
    assert str(mnist / f"{name}{suffix}") in problem.message
    assert "replace it" in (problem.remedy or "")


def test_the_cache_of_checksums_is_not_trusted(mnist: Path, tmp_path: Path) -> None:
    """A disk may change a file without changing its time."""
    path = mnist / "train-labels-idx1-ubyte"
    checksums = Checksums(tmp_path / "data")
    checksums.md5(path)
    checksums.save()
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Checksums(tmp_path / "data").md5(path) != hashlib.md5(path.read_bytes()).hexdigest(), "it is cached"
    assert states(tmp_path)["mnist"].state == "damaged"


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"x" * 99)[:-9]], ids=["empty", "other", "cut"])
def test_a_damaged_archive(content: bytes, mnist: Path, tmp_path: Path) -> None:
    name = "train-labels-idx1-ubyte"
    (mnist / name).unlink()
    (mnist / f"{name}.gz").write_bytes(content)
    assert states(tmp_path)["mnist"].state == "damaged"


def test_incomplete(mnist: Path, tmp_path: Path) -> None:
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    assert states(tmp_path)["mnist"] == DataSetState(
        name="mnist", state="incomplete", files=("t10k-labels-idx1-ubyte",)
    )
    assert examined(tmp_path).problems == [], "the rest is downloaded when it is needed"


def test_files_without_published_checksums(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 6), ("test", 4)):
        (folder / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(idx(count, 28, 28))
        (folder / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(idx(count))
    assert states(tmp_path)["emnist (letters)"].state == "complete"
    (folder / "emnist-letters-test-images-idx3-ubyte").write_bytes(idx(4, 28, 28)[:-1])
    assert states(tmp_path)["emnist (letters)"] == DataSetState(
        name="emnist (letters)", state="damaged", files=("emnist-letters-test-images-idx3-ubyte",)
    )


@pytest.mark.real_data
def test_the_real_files(real_data_dir: Path, tmp_path: Path) -> None:
    found = examine(data_dir=real_data_dir, runs_dir=tmp_path)
    states = {state.name: state.state for state in found.data_sets}
    assert (states["mnist"], states["fashion-mnist"]) == ("intact", "intact")


# Folders


def test_a_folder_of_runs_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    (tmp_path / "runs").chmod(0o755)  # executable: its permissions are those of a folder
    (problem,) = examined(tmp_path).problems
    assert problem.exit_code == 7
    assert str(tmp_path / "runs") in problem.message


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    file.touch()
    (problem,) = examine(data_dir=file, runs_dir=tmp_path).problems
    assert (problem.message, problem.exit_code) == (f"{file} is not a folder", 2)
    assert "CNNCLI_DATA" in str(problem.remedy)


def test_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    problems = examined(tmp_path).problems
    assert {problem.exit_code for problem in problems} == {7}
    assert ["100 MB" in problem.message for problem in problems] == [True, True]
    assert "CNNCLI_DATA" in (problems[0].remedy or "")
    assert "CNNCLI_OUT" in (problems[1].remedy or "")


# runs


def test_runs_that_need_attention(tmp_path: Path) -> None:
    assert examined(tmp_path).runs == []
    for name, status in (("ended", "interrupted"), ("killed", "running"), ("odd", "odd"), ("in use", "running")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "status.json").write_text(f'{{"state": "{status}"}}')
    with RunDirectory(tmp_path / "runs" / "in use").lock():
        found = examined(tmp_path)
    runs = {run.path.name: (run.state, run.remedy) for run in found.runs}
    assert runs == {
        "killed": ("stopped without notice", f"cnncli train --resume {tmp_path / 'runs' / 'killed'}"),
        "odd": ("damaged", f"cnncli runs verify {tmp_path / 'runs' / 'odd'}"),
    }
    (problem,) = found.problems
    assert (problem.exit_code, problem.remedy) == (5, runs["odd"][1])
    assert f"{tmp_path / 'runs' / 'odd' / 'status.json'}: state must be" in problem.message
