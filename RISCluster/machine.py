"""How this process uses the machine: OpenMP threads and the memory allocator."""

import ctypes
import os

LARGEST_KEPT = 32 * 2**20  # bytes, the most that glibc takes
KEPT_IN_ALL = 2**31 - 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h


def prepare_for_torch() -> None:
    """Set what torch reads from the environment when it is loaded, where the user has not.

    OpenMP threads sleep soon when they wait: those that spin starve each other where another
    program uses the same cores; training was measured 12 times slower beside one busy process,
    and a short spin costs nothing. Large tensors are made of large pages: getting 4 kB pages one
    by one was measured to take half of the time of loading a file into memory.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next batch instead of giving them back to the system.

    Every step allocates the same activations again; getting their pages anew was measured to take
    a sixth of the time of a training step. Elsewhere than on glibc this does nothing.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_IN_ALL)
    except (OSError, AttributeError):
        return


def processors() -> int:
    """Processors that this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
