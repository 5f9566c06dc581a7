"""Short forms of `benchmarks/kills.py` and `benchmarks/fuzz.py`."""

import os
import sys
import tempfile

import pytest

from tests.conftest import ROOT
from tests.processes import run_processes

pytest.importorskip("hypothesis")
sys.path.insert(0, str(ROOT / "benchmarks"))
import fuzz  # noqa: E402
import kills  # noqa: E402

SEED = 20210610
INPUTS = 15  # of every subject of fuzzing
KILLED = ("aec", "gmm", "build", "cube")  # subjects of kills; the others take longer
SHORT = ("aec.n_epochs=3", "gmm.n_clusters=2-3", "gmm.init=kmeans", "gmm.n_resamples=none")


def killed(words):
    """Exit code of `kills.main` in a folder, with no environment of torchrun."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        del os.environ[name]
    tempfile.tempdir, sys.argv = os.getcwd(), ["kills.py", *words]
    return kills.main()


def test_killed_and_started_again_is_as_never_killed(tmp_path):
    pytest.importorskip("obspy")
    pytest.importorskip("zarr")
    # With this seed the first kill of each is at an operation, early or late, by all signals.
    words = ("--kills", "1", "--seed", "1261", "--samples", "48", "--what", *KILLED)
    codes, results, out, err = run_processes(tmp_path, 1, killed, (*SHORT, *words))
    assert (codes, results) == ([0], [0]), out + err
    assert out.count("kills 1; 0 trials failed") == len(KILLED)


@pytest.mark.parametrize("subject", fuzz.SUBJECTS, ids=lambda subject: subject.name)
def test_read_or_refused(tmp_path, subject):
    if subject.needs:
        pytest.importorskip(subject.needs)
    counts, findings = fuzz.fuzz(subject, INPUTS, SEED, tmp_path)
    assert not findings
    assert sum(counts.values()) == INPUTS
