import pytest

from RISCluster.runtime import log


@pytest.fixture
def lines(monkeypatch):
    """Lines of the log."""
    found = []
    for level in ("info", "warning"):
        monkeypatch.setattr(log, level, found.append)
    return found
