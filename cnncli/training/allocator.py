"""Memory that is given back to the system between two steps has to be fetched from it again, page by page.

glibc maps every large block of its own and unmaps it when it is freed, so that each step of a training gets the
memory of its feature maps anew, and the system clears every page of it first. Small networks with large maps spend a
quarter of their time on that. Here glibc is asked to keep what is freed for the next step.
"""

import ctypes
import platform

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
