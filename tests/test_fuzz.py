"""A short form of `benchmarks/fuzz.py`, and that it finds what it looks for."""

import importlib.util
import sys

import pytest

from RISCluster.errors import DataError
from tests.conftest import ROOT

SEED = 20210610
INPUTS = 25  # of every subject


def load():
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks/fuzz.py")
    module = sys.modules["fuzz"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = load()


@pytest.mark.parametrize("subject", fuzz.SUBJECTS, ids=lambda subject: subject.name)
def test_read_or_refused(tmp_path, subject):
    if subject.needs:
        pytest.importorskip(subject.needs)
    tally = fuzz.fuzz(subject, INPUTS, SEED, tmp_path)
    assert not tally.findings
    assert tally.valid + tally.refused == INPUTS or tally.crashes


def faulty(folder):
    content = (folder / "a").read_bytes()
    if content[:5] == b"valid":
        return
    if len(content) % 2:
        raise KeyError("odd")
    raise DataError("even")


def test_a_fault_is_found(tmp_path):
    subject = fuzz.Subject("faulty", fuzz.one("a", "valid input"), faulty)
    tally = fuzz.fuzz(subject, 100, SEED, tmp_path)
    [(count, kept)] = tally.findings.values()
    assert "KeyError: 'odd'" in kept
    assert min(count, tally.valid, tally.refused) > 0
    assert count + tally.valid + tally.refused == tally.inputs == 100
    assert list((tmp_path / "findings").glob("faulty_*/a"))
    assert "faulty" in fuzz.table({"faulty": tally})
