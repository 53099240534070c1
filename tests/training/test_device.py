"""Missing devices, running out of memory, and the memory layout."""

import platform
import subprocess
import sys

import pytest
import torch

from cnncli.errors import DeviceError, UsageError
from cnncli.training.device import (
    out_of_memory_explained,
    resolve_device,
    room_for_images,
    use_bf16,
    use_channels_last,
)

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


def test_the_cpu_is_always_available() -> None:
    assert resolve_device("cpu") == CPU


def test_auto_prefers_cuda_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"cuda": False, "mps": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has["mps"])
    assert resolve_device("auto") == CPU
    has["mps"] = True
    assert resolve_device("auto") == MPS
    has["cuda"] = True
    assert resolve_device("auto") == CUDA


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_missing_device_has_a_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=f"device {name}") as caught:
        resolve_device(name)
    assert "--device cpu" in str(caught.value.remedy)


def test_one_gpu_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match="device cuda:2: there are 2 GPUs") as caught:
        resolve_device("cuda:2")
    assert "cuda:0, cuda:1" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", ""])
def test_an_unknown_device_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown device: {name}"):
        resolve_device(name)


def test_out_of_memory_suggests_a_smaller_batch() -> None:
    with pytest.raises(DeviceError, match="cpu is out of memory") as caught, out_of_memory_explained(CPU):
        torch.empty(1 << 52)
    assert "batch_size" in str(caught.value.remedy)


def test_out_of_memory_on_a_gpu() -> None:
    with pytest.raises(DeviceError), out_of_memory_explained(CUDA):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shape"), out_of_memory_explained(CPU):
        raise RuntimeError("shape mismatch")


@pytest.mark.parametrize(
    ("device", "bf16", "chosen"),
    [(CPU, False, True), (CPU, True, True), (CUDA, False, False), (CUDA, True, True), (MPS, False, False)],
)
def test_channels_last_where_it_helps(device: torch.device, bf16: bool, chosen: bool) -> None:
    assert use_channels_last("auto", device, bf16=bf16) is chosen
    assert use_channels_last(True, device, bf16=bf16) is True
    assert use_channels_last(False, device, bf16=bf16) is False


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, False),
        ({"architecture": "aarch64", "neon": True}, False),
    ],
)
def test_bf16_if_the_processor_supports_it(
    capabilities: dict[str, object], chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert use_bf16("auto", CPU) is chosen
    assert use_bf16("bf16", CPU) is True
    assert use_bf16("fp32", CPU) is False
    assert use_bf16("auto", MPS) is False


def test_fp32_if_torch_does_not_report_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert use_bf16("auto", CPU) is False


@pytest.mark.parametrize("able", [False, True])
def test_bf16_if_the_gpu_supports_it(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: able or including_emulation)
    assert use_bf16("auto", CUDA) is able


def test_images_may_use_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 900)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 300)
    assert room_for_images(CUDA) == 500
    assert room_for_images(MPS) == 300
    assert room_for_images(CPU) is None


PROCESS = """
import ctypes, pathlib
from cnncli.training.device import keep_freed_memory

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def released():
    block = library.malloc(100 << 20)
    ctypes.memset(block, 1, 100 << 20)
    before = resident()
    library.free(block)
    return before - resident()

print(released(), keep_freed_memory(), released())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept_on_request() -> None:
    output = subprocess.run([sys.executable, "-c", PROCESS], check=True, capture_output=True, text=True).stdout
    before, supported, after = output.split()
    assert int(before) > 99 << 20
    assert supported == "True"
    assert int(after) < 1 << 20
