"""Errors that a user can act on; the command line prints them as one line."""


class RISClusterError(Exception):
    """Base of the errors of this package; a script ends with `exit_code`.

    `is_cause` is False for a consequence of another process's error, which is not printed. None
    where all processes have the same error; rank 0 prints it.
    """

    exit_code = 2
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

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple:
        return Stopped, (str(self), self.signal_number)  # sent between processes
