"""The device: which one, its memory layout and precision, and running out of memory."""

import ctypes
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch

from cnncli.errors import DeviceError, UsageError
from cnncli.machine import machine_memory

_WORTH_SHARING = 20_000_000
"""Multiply-accumulates of a forward pass that takes about a millisecond on one core."""
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER_TRIM = 2**31 - 1


def resolve_device(name: str) -> torch.device:
    """The device of a name: `cpu`, `cuda` or `cuda:1`, `mps`; `auto` is a CUDA GPU, else an Apple GPU, else the CPU.

    Raises:
        DeviceError: the device is not available.
        UsageError: there is no such name.
    """
    if name == "auto":
        return torch.device("cuda" if _has_cuda() else "mps" if _has_mps() else "cpu")
    kind, colon, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and (kind != "cuda" or not index.isdecimal())):
        raise UsageError(f"unknown device: {name}", remedy="use auto, cpu, cuda, cuda:1 or mps")
    if kind == "cuda" and not _has_cuda():
        built = "no GPU is available" if torch.version.cuda else "this build of torch has no CUDA support"
        raise DeviceError(
            f"device {name}: {built} (torch {torch.__version__})",
            remedy="use --device cpu, or check that `nvidia-smi` lists a GPU and that torch is a CUDA build",
        )
    if index and int(index) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise DeviceError(
            f"device {name}: there {'is 1 GPU' if count == 1 else f'are {count} GPUs'}",
            remedy=f"GPUs are counted from 0: {', '.join(f'cuda:{each}' for each in range(count))}",
        )
    if kind == "mps" and not _has_mps():
        raise DeviceError(
            f"device mps: torch {torch.__version__} finds no Apple GPU",
            remedy="use --device cpu; mps needs macOS 14 or later on Apple silicon",
        )
    return torch.device(name)


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def use_channels_last(setting: Literal["auto"] | bool, device: torch.device, *, bf16: bool) -> bool:
    """Whether images and weights are laid out as (N, H, W, C).

    `auto` chooses what is faster: on the CPU small convolutional networks train about twice as fast in this layout; on
    CUDA bfloat16 kernels need it and float32 kernels do not; MPS works on contiguous tensors.
    """
    if setting == "auto":
        return device.type == "cpu" or (device.type == "cuda" and bf16)
    return setting


def use_bf16(setting: Literal["fp32", "bf16", "auto"], device: torch.device) -> bool:
    """Whether convolutions and linear layers compute in bfloat16.

    `auto` uses it where the device has instructions for it: AMX and AVX-512 BF16 on the CPU, if torch reports them
    (from about 2.11 on), and CUDA from compute capability 8 on. Elsewhere conversions make it slower than float32.
    """
    if setting != "auto":
        return setting == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        able: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def useful_threads(macs_per_step: int) -> int:
    """The number of CPU threads for steps with this many multiply-accumulates.

    Two threads do not shorten a step of a millisecond, and on a busy machine they make it much longer: each of its many
    small parts waits until both threads have run.
    """
    return 1 if macs_per_step < _WORTH_SHARING else torch.get_num_threads()


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Compute with this many CPU threads, on which the last digits depend; None leaves their number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_deterministic(device: torch.device) -> None:
    """Use deterministic convolutions in this process.

    On the CPU they are deterministic by default, for a fixed number of threads.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next allocations of this process; False with another C library.

    For a process that trains and exits. Call it after loading the data, so that memory used for loading is not kept.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_M_MMAP_MAX, 0) and library.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))


def device_memory(device: torch.device) -> int | None:
    """Bytes of memory of a device: of the machine, where it has none of its own; None where it is unknown."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory()


def room_for_images(device: torch.device) -> int | None:
    """Bytes of device memory for storing images: half of the free memory; None if it uses the machine's memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // 2
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) // 2
    return None


@contextmanager
def out_of_memory_explained(
    device: torch.device,
    *,
    remedy: str = "use a smaller train.batch_size (--set train.batch_size=32) or a smaller network",
) -> Iterator[None]:
    """Turn an out-of-memory error, of the device or of the machine, into a DeviceError with its remedy."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(f"{device} is out of memory", remedy=remedy) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error; on the CPU torch reports it only in the message."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    )
