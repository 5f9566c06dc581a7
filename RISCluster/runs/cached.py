"""What several sections of a report need is computed once."""

from collections.abc import Callable
from typing import TypeVar

from .run import FinishedRun

Result = TypeVar("Result")


def kept(run: FinishedRun, name: str, make: Callable[[], Result]) -> Result:
    """Result of `make`, which is called once for a run and kept with it under a name."""
    results = vars(run).setdefault("_kept", {})
    if name not in results:
        results[name] = make()
    return results[name]
