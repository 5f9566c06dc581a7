import shutil
from pathlib import Path

import pytest

from RISCluster.report.make_report import write_report


@pytest.fixture(scope="session")
def drawn_report(made_run, tmp_path_factory) -> Path:
    """A run with its report and figures, drawn once; not to be changed."""
    folder = Path(shutil.copytree(made_run, tmp_path_factory.mktemp("drawn") / "run"))
    shutil.rmtree(folder / "figures", ignore_errors=True)
    write_report(folder)
    return folder


@pytest.fixture
def reported(drawn_report, tmp_path) -> Path:
    """A copy of it to work on."""
    return Path(shutil.copytree(drawn_report, tmp_path / "reported"))
