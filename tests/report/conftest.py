import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from RISCluster.report.make_report import write_report


@pytest.fixture(scope="session")
def drawn_report(made_run, tmp_path_factory) -> Path:
    """A run with its report and figures, drawn once; not to be changed."""
    folder = Path(shutil.copytree(made_run, tmp_path_factory.mktemp("drawn") / "run"))
    shutil.rmtree(folder / "figures", ignore_errors=True)
    make = Figure.__init__
    with pytest.MonkeyPatch.context() as patch:  # to lay them out takes half of the time
        patch.setattr(
            Figure, "__init__", lambda self, *words, layout, **more: make(self, *words, **more)
        )
        write_report(folder)
    return folder


@pytest.fixture
def reported(drawn_report, tmp_path) -> Path:
    """A copy of it to work on."""
    return Path(shutil.copytree(drawn_report, tmp_path / "reported"))
