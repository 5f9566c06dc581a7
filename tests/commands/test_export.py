import re

import h5py
import pytest

from RISCluster.__main__ import main
from RISCluster.catalogue.export import FIELDS

CSV = ("--format", "csv", "-o")


@pytest.fixture
def words(run_folder, here):
    return lambda *more: ["export", "--run", str(run_folder), *map(str, more)]


def test_formats_stages_filters_and_what_is_missing(words, run_folder, here, capsys):
    assert main(words(*CSV, "out.csv")) == 0
    assert "out.csv: 96 samples of" in capsys.readouterr().out
    lines = (here / "out.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == (",".join(FIELDS), 97)
    some = ("--format", "hdf5", "-o", "x.h5", "--stage", "gmm", "--clusters", "0, 1")
    assert main(words(*some, "--min-probability", "0.2", "report.seasons=1-6,7-12")) == 0
    with h5py.File(here / "x.h5") as file:
        assert file.attrs["stage"] == "GMM"
        assert set(file["label"][:]) == {0, 1}
        assert set(file["season"].asstr()[:]) == {"Jan-Jun", "Jul-Dec"}
    pytest.importorskip("obspy")
    assert main(words("--format", "quakeml", "-o", "x.xml")) == 0
    assert "x.xml: 95 events of" in capsys.readouterr().out
    assert main(words("--format", "picks", "-o", "picks.csv")) == 0
    assert "picks.csv: 92 picks of" in capsys.readouterr().out
    (run_folder / "DEC/model.pt").write_bytes(b"other")
    assert main(words(*CSV, "y.csv", "data.file=nowhere.h5")) == 0
    texts = r"DEC/model.pt: has changed.*nowhere.h5: no such file.* stage GMM\n$"
    assert re.search(texts, capsys.readouterr().out, re.S)


def test_templates_go_to_a_folder(words, with_traces, here, refused, capsys):
    obspy = pytest.importorskip("obspy")
    templates = ("--format", "templates", "-o", "new")
    refused(words(*templates), "templates: stacks need waveforms")
    assert main(words(*templates, f"data.file={with_traces}", "--align", "onset")) == 0
    assert "new: 12 templates of" in capsys.readouterr().out
    assert len(obspy.read(here / "new/*.mseed")) == 12
    refused(words(*CSV, "new", "--overwrite"), "new: a folder, or none")


def test_nothing_is_written_over(words, trained, run_folder, here, refused):
    (here / "out.csv").write_text("mine")
    refused(words(*CSV, "out.csv"), "out.csv: exists already; give another name with -o, or --over")
    assert (here / "out.csv").read_text() == "mine"
    assert main(words(*CSV, "out.csv", "--overwrite")) == 0
    assert (here / "out.csv").read_text().startswith("index,")
    for path in (run_folder / "DEC/labels.csv", trained[1]):
        refused(words(*CSV, path, "--overwrite"), "is of the run or data used")
