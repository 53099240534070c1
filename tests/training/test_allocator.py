"""Whether a process keeps freed memory, as reported by the system."""

import platform
import subprocess
import sys

import pytest

PROCESS = """
import ctypes, pathlib, sys
from cnncli.training.device import keep_freed_memory

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "keep":
    assert keep_freed_memory()
block = library.malloc(100 << 20)
ctypes.memset(block, 1, 100 << 20)
before = resident()
library.free(block)
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_is_kept_on_request(keep: bool) -> None:
    command = [sys.executable, "-c", PROCESS, "keep" if keep else "leave"]
    released = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert released < 1 << 20 if keep else released > 99 << 20
