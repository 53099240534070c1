"""Whether a process keeps freed memory, as reported by the system."""

import platform
import subprocess
import sys

import pytest

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
