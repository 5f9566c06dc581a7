"""Errors that a user can act on, which the command line prints as one line, and exit codes.

Exit codes: 0 done; 2 bad input or settings; 130 and 143 stopped by SIGINT and SIGTERM with the
state saved; 141 standard output was closed; 1 anything else, with a traceback.
"""

import os
import re
import sys
from collections.abc import Callable


class RISClusterError(Exception):
    """Base of the errors of this package; a script ends with `exit_code`."""

    exit_code = 2
    # False for a consequence of another process's error, which is not printed; None where all
    # processes have the same error, which rank 0 prints.
    is_cause: bool | None = None


class SettingsError(RISClusterError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(RISClusterError, ValueError):
    """A data file is missing, damaged or not as the settings describe it."""


class RunError(RISClusterError, RuntimeError):
    """A run folder can't be used: out of date, of other data, not writable."""


class CheckpointError(RISClusterError, ValueError):
    """A result file is damaged or of another network."""


class TrainingError(RISClusterError, ArithmeticError):
    """Training fails: the loss is not finite, or there are no usable samples."""


class MissingPackage(RISClusterError, ImportError):
    """An optional package is not installed."""


class Stopped(RISClusterError):
    """Stopped by SIGINT or SIGTERM with the state saved; exit code 128 plus the signal."""

    def __init__(self, message: str, signal_number: int = 0):  # 0 while it is unpickled
        super().__init__(message)
        self.exit_code = 128 + signal_number


def all_processes(work: Callable[[], object]) -> int:
    """`guarded`; one of several processes exits here with the code."""
    code = guarded(work)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # PyTorch's threads can abort a shut-down
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def guarded(work: Callable[[], object]) -> int:
    """Do the work, print an error as one line and return the exit code."""
    try:
        work()
    except RISClusterError as error:
        is_rank0 = os.environ.get("RANK", "0") == "0"  # of torchrun
        if is_rank0 if error.is_cause is None else error.is_cause:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped: run the same command to resume", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as `head` closes its pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (MemoryError, RuntimeError) as error:  # PyTorch raises RuntimeError, on CPU and GPU
        reason = " ".join(str(error).split())[:200] or "out of memory"
        if not re.search("allocate|out of memory", reason, re.IGNORECASE):
            raise
        print(
            f"MemoryError: {reason}; set data.loadmode=disk or smaller batch sizes, and run the "
            "same command again: files saved before are intact",
            file=sys.stderr,
        )
        return 2
    return 0
