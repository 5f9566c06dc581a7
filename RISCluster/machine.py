"""How this process uses the machine: OpenMP threads and the memory allocator."""

import ctypes
import os

LARGEST_KEPT = 32 * 2**20  # bytes, the most that glibc takes
KEPT_IN_ALL = 2**31 - 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h


def wait_without_spinning() -> None:
    """Let OpenMP threads sleep soon when they wait; must come before torch is loaded.

    Threads that wait by spinning starve each other where another program uses the same cores:
    training was measured 12 times slower beside one busy process. A short spin costs nothing.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


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
