"""Checks of the installation: versions, devices, data sets, disks, runs, each problem with its remedy.

torch is imported in another process: a broken installation may end that process, and the other checks are still done.
"""

import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import cnncli
from cnncli.config.datasets import EMNIST_SPLITS, DatasetName, KnownDataset, known_dataset
from cnncli.data.download import MATCHING_BUILDS
from cnncli.data.idx import check_header
from cnncli.data.verify import Checksums, find_file, is_published, missing_files, verify_files
from cnncli.errors import CnncliError, DataError, DeviceError, DiskError, RunError, UsageError
from cnncli.machine import machine_memory
from cnncli.options import MAX_THREADS, device_problem
from cnncli.runs.summary import summarize_all
from cnncli.training.run_directory import STOPPED_WITHOUT_NOTICE

PACKAGES = (
    *("torch", "torchvision", "numpy", "Pillow", "pydantic", "PyYAML", "rich", "safetensors", "tensorboard", "typer"),
    *("filelock", "google-crc32c"),
)
"""The packages that cnncli requires, by the names of the package index."""

EXTRAS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "onnx": ("ONNX files", ("onnx", "onnxruntime", "onnxscript")),
    "parquet": ("Parquet files of images", ("pyarrow",)),
    "sweep": ("cnncli sweep", ("optuna",)),
    "terminal": ("pixel graphics in the terminal", ("textual-image",)),
}
"""Optional extras: what each is for, and its packages."""

_USUAL: tuple[DatasetName, ...] = ("mnist", "fashion-mnist", "kmnist", "cifar10")
_RARE: tuple[DatasetName, ...] = ("cifar100", "svhn", "stl10", "usps")
"""Data sets that are listed even if they are absent, and those that are not."""
_PROBE = "import cnncli.doctor; cnncli.doctor.print_torch_facts()"
_PROBE_SECONDS = 120
_LITTLE_SPACE = 200 << 20
"""Bytes: a run with its pictures and checkpoints needs up to 100 MB, MNIST 65 MB."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device.

    Attributes:
        name: as in `--device`.
        model: name of the processor or GPU; None if it is not available.
        unavailable: why it is not available; None if it is.
        memory: bytes; for the CPU, of the machine or its container.
        bf16: whether `train.precision: auto` computes in bfloat16 there.
    """

    name: str
    model: str | None = None
    unavailable: str | None = None
    memory: int | None = None
    bf16: bool = False


@dataclass(frozen=True, kw_only=True)
class TorchFacts:
    """What torch says about itself and the devices.

    Attributes:
        version: of torch, with the build, such as `2.14.1+cu130`; None if it cannot be imported.
        error: why it cannot be imported.
        torchvision_error: why torchvision cannot be imported.
        threads: CPU threads that torch uses by default.
        devices: the CPU and all GPUs, or the types of GPU that are not available.
    """

    version: str | None = None
    error: str | None = None
    torchvision_error: str | None = None
    threads: int | None = None
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataSetState:
    """The files of a standard data set in the data directory.

    Attributes:
        name: as in a config; EMNIST with its split.
        state: `included` in the package; `intact`: its checksums are the published ones; `complete`: all files are
            there, but no checksums are published for them; `incomplete`; `damaged`; `absent`.
        files: those that are missing or damaged.
    """

    name: str
    state: Literal["included", "intact", "complete", "incomplete", "damaged", "absent"]
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that cnncli writes to.

    Attributes:
        purpose: `data` or `runs`.
        path: of the folder, absolute; it need not exist.
        free: bytes that are free on its disk.
        writable: whether it can be written to, or created.
    """

    purpose: str
    path: Path
    free: int | None
    writable: bool


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run that did not end as runs do.

    Attributes:
        path: its directory.
        state: `damaged`, or `stopped without notice`: its process was killed, or the disk was full.
        remedy: the command to type.
    """

    path: Path
    state: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Extra:
    """An optional extra.

    Attributes:
        name: of the extra.
        purpose: what it is for.
        missing: its packages that are not installed.
    """

    name: str
    purpose: str
    missing: tuple[str, ...]

    @property
    def install(self) -> str | None:
        """The command that installs it; None if nothing is missing."""
        return f'pip install "cnncli[{self.name}]"' if self.missing else None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All that was found.

    Attributes:
        versions: of cnncli, Python and the required packages; None for one that is not installed.
        system: the operating system.
        cores: that this process may use.
        torch, data_sets, folders, runs, extras: see their classes.
        environment: the variables `CNNCLI_*` that are set.
        problems: what to fix, each with its remedy.
    """

    versions: Mapping[str, str | None]
    system: str
    cores: int
    torch: TorchFacts
    data_sets: Sequence[DataSetState]
    folders: Sequence[Folder]
    runs: Sequence[RunState]
    extras: Sequence[Extra]
    environment: Mapping[str, str]
    problems: Sequence[CnncliError] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The content of `cnncli doctor --json`."""
        return {
            "ok": not self.problems,
            "versions": dict(self.versions),
            "system": self.system,
            "cores": self.cores,
            "torch": {key: value for key, value in asdict(self.torch).items() if key != "devices"},
            "devices": [asdict(device) for device in self.torch.devices],
            "data_sets": [asdict(state) for state in self.data_sets],
            "folders": [asdict(folder) | {"path": str(folder.path)} for folder in self.folders],
            "runs": [asdict(run) | {"path": str(run.path)} for run in self.runs],
            "extras": [asdict(extra) | {"install": extra.install} for extra in self.extras],
            "environment": dict(self.environment),
            "problems": [
                {"message": each.message, "remedy": each.remedy, "exit_code": each.exit_code} for each in self.problems
            ],
        }


def examine(*, data_dir: Path, runs_dir: Path) -> Diagnosis:
    """Check the installation. Nothing is written and no network is used.

    Args:
        data_dir: the data directory.
        runs_dir: the folder of runs.
    """
    versions: dict[str, str | None] = {"cnncli": cnncli.__version__, "python": platform.python_version()}
    versions |= {package: _version(package) for package in PACKAGES}
    torch = torch_facts()
    states, damage = _data_sets(data_dir)
    folders = [_folder("data", data_dir), _folder("runs", runs_dir)]
    runs, damaged_runs = _runs(runs_dir)
    problems = [
        *_package_problems(versions),
        *_torch_problems(torch),
        *_environment_problems(torch),
        *damage,
        *(problem for folder in folders for problem in _folder_problems(folder)),
        *damaged_runs,
    ]
    return Diagnosis(
        versions=versions | ({"torch": torch.version} if torch.version else {}),
        system=platform.platform(),
        cores=_cores(),
        torch=torch,
        data_sets=states,
        folders=folders,
        runs=runs,
        extras=[_extra(name) for name in EXTRAS],
        environment={name: value for name, value in sorted(os.environ.items()) if name.startswith("CNNCLI_")},
        problems=problems,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extra(name: str) -> Extra:
    purpose, packages = EXTRAS[name]
    missing = tuple(each for each in packages if importlib.util.find_spec(each.replace("-", "_")) is None)
    return Extra(name=name, purpose=purpose, missing=missing)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


# torch, in its own process


def torch_facts() -> TorchFacts:
    """What torch says, asked in another process."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TorchFacts(error=f"importing torch took more than {_PROBE_SECONDS} seconds")
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        cause = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        return TorchFacts(error=f"importing torch ended Python with {cause}")
    facts = json.loads(lines[-1])
    return TorchFacts(**facts | {"devices": tuple(Device(**each) for each in facts["devices"])})


def print_torch_facts() -> None:
    """Import torch and torchvision, and print `TorchFacts` as JSON on the last line of stdout."""
    print(json.dumps(asdict(_imported_torch_facts())))  # noqa: T201  read by the process that started this one


def _imported_torch_facts() -> TorchFacts:
    try:
        import torch

        from cnncli.training.device import out_of_memory_explained  # noqa: F401  imports torch's parts that cnncli uses
    except Exception as error:
        return TorchFacts(error=_first_line(error))
    torchvision_error = None
    try:
        import torchvision  # noqa: F401  only whether it can be imported
    except Exception as error:
        torchvision_error = _first_line(error)
    return TorchFacts(
        version=str(torch.__version__),
        torchvision_error=torchvision_error,
        threads=torch.get_num_threads(),
        devices=tuple(_devices()),
    )


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _devices() -> Iterator[Device]:
    """The CPU, each NVIDIA or AMD GPU and the Apple GPU, or why there is none."""
    import torch

    from cnncli.training.device import resolve_device, use_bf16
    from cnncli.training.metadata import device_name

    cpu = torch.device("cpu")
    yield Device(name="cpu", model=device_name(cpu), memory=machine_memory(), bf16=use_bf16("auto", cpu))
    for name in ("cuda", "mps"):
        try:
            with warnings.catch_warnings(record=True) as caught:  # such as that the driver is too old
                warnings.simplefilter("always")
                resolve_device(name)
        except DeviceError as error:
            reasons = [error.message, *(str(each.message).splitlines()[0] for each in caught)]
            yield Device(name=name, unavailable="; ".join(reasons).removeprefix(f"device {name}: "))
            continue
        if name == "mps":
            memory = torch.mps.recommended_max_memory()
            yield Device(name=name, model=device_name(torch.device(name)), memory=memory)
            continue
        for index in range(torch.cuda.device_count()):
            device = torch.device("cuda", index)
            memory = torch.cuda.get_device_properties(device).total_memory
            with torch.cuda.device(device):
                bf16 = use_bf16("auto", device)
            yield Device(name=str(device), model=device_name(device), memory=memory, bf16=bf16)


# Data sets and folders


def _data_sets(data_dir: Path) -> tuple[list[DataSetState], list[CnncliError]]:
    """The usual data sets, and those of the others, and of the splits of EMNIST, that are there; the damaged files."""

    def is_present(facts: KnownDataset) -> bool:
        return len(missing_files(facts, data_dir)) < len(_file_names(facts))

    present = [facts for split in EMNIST_SPLITS if is_present(facts := known_dataset("emnist", split))]
    others = [facts for name in _RARE if is_present(facts := known_dataset(name))]
    known = [*map(known_dataset, _USUAL), *others, *present]
    states = [DataSetState(name="digits", state="included")]
    damage: list[CnncliError] = []
    checksums = Checksums(data_dir, cached=False)
    for facts in known:
        state, errors = _data_set(facts, data_dir, checksums)
        states.append(state)
        damage += errors
    if not present:
        states.append(DataSetState(name="emnist", state="absent"))
    return states, damage


def _file_names(facts: KnownDataset) -> list[str]:
    return [name for part in facts.files.values() for name in part]


def _data_set(facts: KnownDataset, data_dir: Path, checksums: Checksums) -> tuple[DataSetState, list[CnncliError]]:
    names = _file_names(facts)
    missing = missing_files(facts, data_dir)
    damaged: list[str] = []
    errors: list[CnncliError] = []
    published = True
    for name in names:
        path = find_file(facts, data_dir, name)
        if path is None:
            continue
        try:
            if path.name in facts.md5:
                verify_files(facts, [path], checksums)
            if facts.format != "torchvision" and not is_published(facts, path, checksums):
                published = False
                check_header(path, (None, *facts.native[1:]) if "images" in name else (None,))
        except DataError as error:
            damaged.append(path.name)
            errors.append(error)
        except (OSError, EOFError) as error:
            damaged.append(path.name)
            errors.append(DataError(f"{path}: cannot be read: {error}", remedy="replace it with a readable file"))
    if damaged:
        return DataSetState(name=facts.name, state="damaged", files=tuple(damaged)), errors
    if len(missing) == len(names):
        return DataSetState(name=facts.name, state="absent"), []
    if missing:
        return DataSetState(name=facts.name, state="incomplete", files=tuple(missing)), []
    return DataSetState(name=facts.name, state="intact" if published else "complete"), []


def _runs(folder: Path) -> tuple[list[RunState], list[CnncliError]]:
    """The runs in a folder that need attention, and an error for everything that is damaged in one."""
    states: list[RunState] = []
    errors: list[CnncliError] = []
    for run in summarize_all(folder) if folder.is_dir() else ():
        if run.problems:
            remedy = f"cnncli runs verify {shlex.quote(str(run.path))}"
            states.append(RunState(path=run.path, state="damaged", remedy=remedy))
            errors += [RunError(problem, remedy=remedy) for problem in run.problems]
        elif run.reason == STOPPED_WITHOUT_NOTICE:
            remedy = f"cnncli train --resume {shlex.quote(str(run.path))}"
            states.append(RunState(path=run.path, state=STOPPED_WITHOUT_NOTICE, remedy=remedy))
    return states, errors


def _folder(purpose: str, path: Path) -> Folder:
    existing = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    try:
        free = shutil.disk_usage(existing).free
    except OSError:
        free = None
    return Folder(
        purpose=purpose,
        path=path.absolute(),
        free=free,
        writable=existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
    )


# Problems


def _package_problems(versions: Mapping[str, str | None]) -> Iterator[CnncliError]:
    missing = [name for name, found in versions.items() if found is None]
    if missing:
        yield CnncliError(f"not installed: {', '.join(missing)}", remedy=f"pip install {' '.join(missing)}")


def _torch_problems(torch: TorchFacts) -> Iterator[CnncliError]:
    if torch.error is not None:
        yield DeviceError(f"torch cannot be imported: {torch.error}", remedy=MATCHING_BUILDS)
    if torch.torchvision_error is not None:
        yield DataError(
            f"torchvision cannot be imported, so no data set can be downloaded: {torch.torchvision_error}",
            remedy=MATCHING_BUILDS,
        )


def _environment_problems(torch: TorchFacts) -> Iterator[CnncliError]:
    """Values of variables that commands would refuse, or that name a device that is not there."""
    device = os.environ.get("CNNCLI_DEVICE", "")
    available = [each.name for each in torch.devices if each.unavailable is None]
    known = {"", "auto", *available, *(each.partition(":")[0] for each in available)}
    if device and device_problem(device):
        yield UsageError(f"CNNCLI_DEVICE: {device_problem(device)}", remedy="change the variable or unset it")
    elif available and device not in known:
        yield DeviceError(
            f"CNNCLI_DEVICE={device}, which is not available", remedy=f"use auto or one of: {', '.join(available)}"
        )
    threads = os.environ.get("CNNCLI_THREADS", "")
    if threads and not (threads.isdecimal() and 1 <= int(threads) <= MAX_THREADS):
        yield UsageError(
            f"CNNCLI_THREADS={threads} is not a number of threads", remedy=f"use a number from 1 to {MAX_THREADS}"
        )


def _folder_problems(folder: Folder) -> Iterator[CnncliError]:
    option = {"data": "--data-dir or CNNCLI_DATA", "runs": "--out or CNNCLI_OUT"}[folder.purpose]
    if folder.purpose == "data" and folder.path.exists() and not folder.path.is_dir():
        yield UsageError(f"{folder.path} is not a folder", remedy=f"name a folder with {option}")
    elif not folder.writable and folder.purpose == "runs":  # a data directory may be read-only
        yield DiskError(f"{folder.path}: no run can be written there", remedy=f"choose another folder with {option}")
    elif folder.writable and folder.free is not None and folder.free < _LITTLE_SPACE:
        yield DiskError(
            f"{folder.path}: only {folder.free >> 20} MB are free on its disk",
            remedy=f"free some space, or choose another folder with {option}",
        )
