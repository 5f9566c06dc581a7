import logging

import pytest


@pytest.fixture
def logged(caplog):
    """Lines of the log that contain a text."""
    caplog.set_level(logging.INFO, logger="RISCluster")
    logging.getLogger("RISCluster").propagate = True
    return lambda text: [x.getMessage() for x in caplog.records if text in x.getMessage()]
