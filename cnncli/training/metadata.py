"""The metadata of a run: what it depends on in addition to its config."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import cnncli

_PACKAGES = ("torch", "torchvision", "numpy", "safetensors", "tensorboard", "pydantic", "Pillow")
_GIT_SECONDS = 2


def collect_metadata(
    *,
    device: torch.device,
    bf16: bool = False,
    processes: int = 1,
    data_files: Mapping[str, str],
    init_from: Mapping[str, Any] | None = None,
    command: Sequence[str],
) -> dict[str, Any]:
    """The content of metadata.json: versions, platform, device, precision, threads, processes, commit, data, command.

    Args:
        device: where the run computes.
        bf16: whether convolutions and linear layers compute in bfloat16.
        processes: how many train together.
        data_files: checksum of each data file by name.
        init_from: the weights of another network that it starts from.
        command: the arguments of the command line, the program first.
    """
    return {
        "versions": installed_versions(),
        "platform": platform.platform(),
        "device": {"type": device.type, "name": device_name(device)},
        "precision": "bf16" if bf16 else "fp32",
        "threads": torch.get_num_threads(),
        "processes": processes,
        "git_commit": _git_commit(Path.cwd()),
        "data": dict(data_files),
        "init_from": None if init_from is None else dict(init_from),
        "command": list(command),
    }


def installed_versions(*others: str) -> dict[str, str | None]:
    """Installed versions of cnncli, Python, the main packages and others, read without importing the packages."""
    versions: dict[str, str | None] = {"cnncli": cnncli.__version__, "python": platform.python_version()}
    for package in (*_PACKAGES, *others):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    versions["torch"] = str(torch.__version__)  # with the build, +cpu or +cu132, on which the last bits depend
    return versions


def device_name(device: torch.device) -> str:
    """The model of the GPU or the processor; on a Mac, the name of the processor is also used for its GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _git_commit(directory: Path) -> str | None:
    """The checked-out commit, with `-dirty` if files have changed; None outside a git repository."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
