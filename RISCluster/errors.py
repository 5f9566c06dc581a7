"""Errors that a user can act on.

Each says what is wrong, where, and what is allowed. The command line prints the message alone
and ends with the class's exit code; from Python they are ordinary exceptions.
"""


class RISClusterError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes
    ----------
    exit_code : int
        What a script ends with.
    to_be_told : bool or None
        Of several processes: whether this one's error is the cause, which is printed, and not one
        that follows from it. None where all have the same, and the first prints it.
    """

    exit_code = 2
    to_be_told: bool | None = None


class SettingsError(RISClusterError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(RISClusterError, ValueError):
    """A data file is missing, damaged or not what the settings say."""


class RunError(RISClusterError, RuntimeError):
    """A run folder can't be used as it stands: stale, from other data, not writable."""


class CheckpointError(RISClusterError, ValueError):
    """A checkpoint is damaged or from another network."""


class TrainingError(RISClusterError, ArithmeticError):
    """Training can't go on: the loss is not finite, or there is nothing to learn from."""


class MissingPackage(RISClusterError, ImportError):
    """Work needs a package that is not installed."""


class Stopped(RISClusterError):
    """SIGINT or SIGTERM was taken at a safe point; the state is saved.

    Parameters
    ----------
    message : str
        What was saved and how to go on.
    signal_number : int
        The signal; the exit code is 128 more, as shells have it.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple:
        return Stopped, (str(self), self.signal_number)  # it travels between processes
