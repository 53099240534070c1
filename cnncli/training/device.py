"""Where tensors live: finding the device, its memory layout, and its memory running out."""

import ctypes
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch

from cnncli.errors import DeviceError

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER_TRIM = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next allocations; whether that can be had here.

    It is for a process that trains and ends: call it when the data are loaded, so that what loading them took is not
    kept as well. Results do not change. Other C libraries than glibc are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_M_MMAP_MAX, 0) and library.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))


DeviceName = Literal["auto", "cpu", "cuda", "mps"]

_WORTH_SHARING = 20_000_000
"""Multiply-accumulates of a forward pass; about a millisecond on one core."""
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def resolve_device(name: DeviceName) -> torch.device:
    """The device of that name; `auto` takes a CUDA GPU, else Apple's (`mps`), else the CPU.

    Raises:
        DeviceError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if _has_cuda() else "mps" if _has_mps() else "cpu")
    if name == "cuda" and not _has_cuda():
        built = "no GPU answers" if torch.version.cuda else "this torch is built without CUDA"
        raise DeviceError(
            f"--device cuda: {built} (torch {torch.__version__})",
            remedy="use --device cpu, or see that `nvidia-smi` lists a GPU and that torch is a CUDA build",
        )
    if name == "mps" and not _has_mps():
        raise DeviceError(
            f"--device mps: there is no Apple GPU that torch {torch.__version__} can use",
            remedy="use --device cpu; mps needs macOS 14 or later on Apple silicon",
        )
    return torch.device(name)


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def use_channels_last(setting: Literal["auto"] | bool, device: torch.device, *, bf16: bool) -> bool:
    """Whether images and weights are laid out as (N, H, W, C).

    `auto` goes by the kernels each device has: on the CPU small convolutional networks train about twice as
    fast that way, on CUDA the bfloat16 kernels want it and the float32 ones do not, and MPS works on
    contiguous tensors.
    """
    if setting == "auto":
        return device.type == "cpu" or (device.type == "cuda" and bf16)
    return setting


def use_bf16(setting: Literal["fp32", "bf16", "auto"], device: torch.device) -> bool:
    """Whether convolutions and linears compute in bfloat16.

    `auto` says yes where the device multiplies such numbers as one instruction: Intel's AMX and the BF16 part of
    AVX-512 on the CPU, as far as torch tells of them (before 2.11 or so it does not), and CUDA from compute capability
    8 on. Elsewhere they are turned into float32 and back, which takes longer than float32 alone.
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
    """How many CPU threads help with a step of so many multiply-accumulates.

    A step that is done in a millisecond is not done sooner by two threads, and on a machine that has other things to do
    it is done much later: each of its many small parts then waits until both have had their turn.
    """
    return 1 if macs_per_step < _WORTH_SHARING else torch.get_num_threads()


def set_deterministic(device: torch.device) -> None:
    """Ask for convolutions that give the same bits each time, for the whole process.

    On the CPU they do so by themselves, as long as the number of threads stays the same.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def room_for_images(device: torch.device) -> int | None:
    """Bytes that a device has for images to stay on it: half of what is free; None where memory is the machine's."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // 2
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) // 2
    return None


@contextmanager
def out_of_memory_explained(
    device: torch.device, *, remedy: str = "make train.batch_size smaller (--set train.batch_size=32), or the network"
) -> Iterator[None]:
    """Turn an exhausted memory, of the device or of the machine, into a DeviceError with its remedy."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"the memory of {device} is exhausted",
            remedy=remedy,
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had; on the CPU torch says so only in words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    )
