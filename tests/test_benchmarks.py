"""Short forms of `benchmarks/kills.py` and `benchmarks/fuzz.py`, and that they find faults."""

import os
import sys
import tempfile

import pytest

from RISCluster.errors import DataError
from tests.conftest import ROOT
from tests.processes import run_processes

pytest.importorskip("hypothesis")
sys.path.insert(0, str(ROOT / "benchmarks"))
import fuzz  # noqa: E402
import kills  # noqa: E402

SEED = 20210610
INPUTS = 25  # of every subject of fuzzing
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
    words = ("--kills", "1", "--seed", "1261", "--samples", "48", "--what", ",".join(KILLED))
    codes, results, out, err = run_processes(tmp_path, 1, killed, (*words, *SHORT))
    assert (codes, results) == ([0], [0]), out + err
    assert out.count("kills 1; 0 trials failed") == len(KILLED)


def test_differences_after_a_kill_are_found(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for top in (a, b):
        (top / "AEC").mkdir(parents=True)
        (top / "AEC/model.pt").write_bytes(b"weights")
        (top / "AEC/history.csv").write_text(f"epoch,mse,seconds\n1,2,{top.name}\n")
    assert kills.different(a, b, ("AEC",)) == []
    (b / "AEC/history.csv").write_text("epoch,mse,seconds\n1,1,3\n")
    (b / "AEC/model.pt").write_bytes(b"w3ights")
    (b / "AEC/last.pt.partial").write_bytes(b"")
    assert len(kills.different(a, b, ("AEC",))) == 3
    assert kills.left_over(b) == ["AEC/last.pt.partial was left"]


@pytest.mark.parametrize("subject", fuzz.SUBJECTS, ids=lambda subject: subject.name)
def test_read_or_refused(tmp_path, subject):
    if subject.needs:
        pytest.importorskip(subject.needs)
    counts, findings = fuzz.fuzz(subject, INPUTS, SEED, tmp_path)
    assert not findings
    assert sum(counts.values()) == INPUTS


def faulty(folder):
    content = (folder / "a").read_bytes()
    if content[:5] != b"valid":
        raise KeyError("odd") if len(content) % 2 else DataError("even")


def test_a_fault_is_found_and_made_small(tmp_path):
    subject = fuzz.Subject("faulty", fuzz.one("a", "valid input"), faulty)
    counts, [found] = fuzz.fuzz(subject, 100, SEED, tmp_path)
    assert "KeyError: 'odd'" in found
    assert counts["finding"] == 1
    [path] = (tmp_path / "findings").glob("faulty_*/a")
    assert len(path.read_bytes()) < len("valid input")


def crashing(folder):
    if (folder / "a").read_bytes() != b"valid input":
        os.abort()


def test_a_library_that_crashes_is_counted(tmp_path):
    subject = fuzz.Subject("crashing", fuzz.one("a", "valid input"), crashing)
    counts, findings = fuzz.fuzz(subject, 3, SEED, tmp_path)
    assert (counts["crash"] > 0, findings) == (True, [])
