import numpy as np
import pytest
import torch

from RISCluster.data import layouts, loading
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import (
    Reader,
    Split,
    choose_loadmode,
    draw_split,
    load_set,
    mean_and_deviation,
)
from RISCluster.data.transforms import Preparation
from RISCluster.distributed import Ranks
from RISCluster.errors import DataError
from tests.conftest import blobs, write_samples

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)


@pytest.fixture
def reader(tmp_path):
    spectrogram, _ = blobs(300)
    spectrogram[7, 2, 3] = np.nan
    spectrogram[120] = 0
    spectrogram[299, 0, 0] = np.inf
    with open_spectrograms(write_samples(tmp_path / "x.h5", spectrogram)) as file:
        yield Reader(file, Preparation("sqrt", "vec_norm"), CPU)


def expected(reader, index):
    raw = np.stack([reader.file.read(i, i + 1)[0] for i in index])
    return reader.preparation(torch.from_numpy(raw)).unsqueeze(1)


@pytest.mark.parametrize("mode", ["ram", "disk"])
@pytest.mark.parametrize("rows", [512, 17])
def test_sets_hold_the_usable_samples(reader, mode, rows, monkeypatch):
    monkeypatch.setattr(layouts, "READ_ROWS", rows)
    index = np.setdiff1d(np.arange(300), np.arange(130, 220))
    samples, unusable = load_set(reader, index, mode, ALONE)
    assert unusable.tolist() == [7, 120, 299]
    assert samples.index.tolist() == [i for i in index if i not in (7, 120, 299)]
    positions, x = zip(*samples.in_order(3, 150, 32), strict=True)
    assert torch.cat(positions).tolist() == list(range(3, 150))
    assert torch.equal(torch.cat(x), expected(reader, samples.index[3:150]))


@pytest.mark.parametrize("mode", ["ram", "disk"])
def test_epoch_gives_each_sample_once_with_its_position(reader, mode, monkeypatch):
    monkeypatch.setattr(loading, "WINDOW", 64)
    samples, _ = load_set(reader, np.arange(300), mode, ALONE)
    batches = list(samples.epoch(1, 0, 50, ALONE))
    assert [len(batch[0]) for batch in batches] == [50] * 5 + [47]
    positions = torch.cat([batch[0] for batch in batches])
    assert sorted(positions.tolist()) == list(range(297))
    for position, x in batches:
        assert torch.equal(x, expected(reader, samples.index[position.numpy()]))


def test_order_is_the_same_wherever_samples_are_kept(reader, monkeypatch):
    monkeypatch.setattr(loading, "WINDOW", 100)
    ram, _ = load_set(reader, np.arange(300), "ram", ALONE)
    disk, _ = load_set(reader, np.arange(300), "disk", ALONE)
    for first in (0, 2):
        pairs = zip(
            ram.epoch(5, 3, 40, ALONE, first), disk.epoch(5, 3, 40, ALONE, first), strict=True
        )
        for (a, x), (b, y) in pairs:
            assert torch.equal(a, b)
            assert torch.equal(x, y)


def test_take_and_standardize(reader):
    for mode in ("ram", "disk"):
        reader.preparation = Preparation("sqrt", "vec_norm")
        samples, _ = load_set(reader, np.arange(300), mode, ALONE)
        train = samples.take(np.arange(0, 300, 2))
        mean, deviation = mean_and_deviation(train)
        raw = expected(reader, train.index)[:, 0].double()
        np.testing.assert_allclose(mean, raw.mean(0), rtol=1e-5)
        np.testing.assert_allclose(deviation**2, raw.var(0, correction=0).mean(), rtol=1e-5)
        preparation = Preparation("sqrt", "vec_norm", mean, deviation)
        samples.standardize(preparation)
        train = samples.take(train.index)
        x = torch.cat([x for _, x in train.in_order(0, len(train), 64)])
        assert abs(float(x.mean())) < 1e-6
        assert float(x.square().mean()) == pytest.approx(1, rel=1e-5)


def test_loadmode_says_why():
    assert choose_loadmode("auto", 1000, CPU)[0] == "ram"
    mode, why = choose_loadmode("auto", 10**15, CPU)
    assert mode == "disk"
    assert "more than half" in why
    assert choose_loadmode("ram", 10**15, CPU)[0] == "ram"
    with pytest.raises(DataError, match="needs a GPU"):
        choose_loadmode("device", 1, CPU)


# ---- training and validation --------------------------------------------------------------------


def test_split(tmp_path):
    assert np.array_equal(draw_split(500, 100, 0.2, 1).train, draw_split(500, 100, 0.2, 1).train)
    assert len(draw_split(2, 0, 0.99, 0).train) == 1
    assert draw_split(10, 50000, 0.2, 0).both.tolist() == list(range(10))
    with pytest.raises(DataError, match="two samples at least"):
        draw_split(100, 1, 0.2, 0)
    split = draw_split(1000, 100, 0.2, seed=3)
    assert (len(split.train), len(split.validation)) == (80, 20)
    assert (np.diff(split.both) > 0).all()
    split = split.without(split.both[:2])
    split.save(tmp_path / "s.npz")
    again = Split.load(tmp_path / "s.npz")
    assert (len(again.both), again.unusable.tolist()) == (98, split.unusable.tolist())
