"""A short form of `benchmarks/fuzz.py`, and that it finds what it looks for."""

import sys

import pytest

from RISCluster.errors import DataError
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import fuzz  # noqa: E402

SEED = 20210610
INPUTS = 25  # of every subject


@pytest.mark.parametrize("subject", fuzz.SUBJECTS, ids=lambda subject: subject.name)
def test_read_or_refused(tmp_path, subject):
    if subject.needs:
        pytest.importorskip(subject.needs)
    counts, findings = fuzz.fuzz(subject, INPUTS, SEED, tmp_path)
    assert not counts["finding"], findings
    assert sum(counts.values()) == INPUTS


def faulty(folder):
    content = (folder / "a").read_bytes()
    if content[:5] == b"valid":
        return
    if len(content) % 2:
        raise KeyError("odd")
    raise DataError("even")


def test_a_fault_is_found(tmp_path):
    subject = fuzz.Subject("faulty", fuzz.one("a", "valid input"), faulty)
    counts, findings = fuzz.fuzz(subject, 100, SEED, tmp_path)
    [found] = findings.values()
    assert "KeyError: 'odd'" in found
    assert min(counts[key] for key in ("valid", "refused", "finding")) > 0
    assert sum(counts.values()) == 100
    assert list((tmp_path / "findings").glob("faulty_*/a"))
