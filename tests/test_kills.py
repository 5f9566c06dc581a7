"""Some kills of every stage and command, at moments drawn with a seed; the benchmark has more."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import kills  # noqa: E402

SHORT = (
    "aec.n_epochs=4", "dec.n_epochs=3", "gmm.n_clusters=2-3", "gmm.init=kmeans",
    "gmm.n_resamples=none",
)  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_and_started_again_is_as_never_killed(tmp_path):
    pytest.importorskip("obspy")
    pytest.importorskip("zarr")
    words = ("--kills", "2", "--seed", "2021", "--samples", "48", "--forked", *SHORT)
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/kills.py", *words],
        env=os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": 2 kills in ") == len(kills.SUBJECTS)


def test_the_comparison_finds_what_is_wrong(tmp_path):
    for top in ("a", "b"):
        (tmp_path / top / "AEC").mkdir(parents=True)
        (tmp_path / top / "AEC/model.pt").write_bytes(b"weights")
        (tmp_path / top / "AEC/history.csv").write_text("epoch,mse,seconds\n1,2,3\n")
    a, b = tmp_path / "a", tmp_path / "b"
    assert kills.different(a, b, ("AEC",)) == []
    (b / "AEC/history.csv").write_text("epoch,mse,seconds\n1,2,4\n")
    assert kills.different(a, b, ("AEC",)) == []
    (b / "AEC/history.csv").write_text("epoch,mse,seconds\n1,1,3\n")
    (b / "AEC/model.pt").write_bytes(b"w3ights")
    (b / "AEC/last.pt.partial").write_bytes(b"")
    assert kills.different(a, b, ("AEC",)) == [
        "AEC/last.pt.partial should not be there",
        "AEC/history.csv differs",
        "AEC/model.pt differs",
    ]
    assert kills.left_over(b) == ["AEC/last.pt.partial was left"]
