"""Split, preparation, sets of samples and their order."""

import numpy as np
import pytest
import torch

from RISCluster.data import layouts, loading
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Preparation, Reader, load_set, mean_and_deviation
from RISCluster.data.sets import Split, draw_split
from RISCluster.distributed import Ranks
from RISCluster.errors import DataError
from RISCluster.io import write_npz
from tests.conftest import blobs, write_samples

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)
ALL = np.arange(300)


@pytest.fixture
def reader(tmp_path):
    spectrogram, _ = blobs(300)
    spectrogram[7, 2, 3], spectrogram[120], spectrogram[299, 0, 0] = np.nan, 0, np.inf
    with open_spectrograms(write_samples(tmp_path / "x.h5", spectrogram)) as file:
        yield Reader(file, Preparation("sqrt", "vec_norm"), CPU)


def expected(reader, index):
    raw = np.stack([reader.file.read(i, i + 1)[0] for i in index])
    return reader.preparation(torch.from_numpy(raw)).unsqueeze(1)


@pytest.mark.parametrize(("mode", "rows"), [("ram", 512), ("disk", 512), ("disk", 17)])
def test_sets_of_usable_samples_their_parts_and_standardisation(reader, mode, rows, monkeypatch):
    monkeypatch.setattr(layouts, "READ_ROWS", rows)
    index = np.setdiff1d(ALL, np.arange(130, 220))
    samples, unusable = load_set(reader, index, mode, ALONE)
    assert unusable.tolist() == [7, 120, 299]
    assert samples.index.tolist() == [i for i in index if i not in (7, 120, 299)]
    positions, x = zip(*samples.in_order(3, 150, 32), strict=True)
    assert torch.cat(positions).tolist() == list(range(3, 150))
    assert torch.equal(torch.cat(x), expected(reader, samples.index[3:150]))
    train = samples.take(ALL[::2])
    mean, deviation = mean_and_deviation(train)
    raw = expected(reader, train.index)[:, 0].double()
    np.testing.assert_allclose(mean, raw.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation**2, raw.var(0, correction=0).mean(), rtol=1e-5)
    samples.standardize(Preparation("sqrt", "vec_norm", mean, deviation))
    x = torch.cat([x for _, x in samples.take(train.index).in_order(0, len(train), 64)])
    assert (float(x.mean()), float(x.square().mean())) == pytest.approx((0, 1), rel=1e-5, abs=1e-6)


def test_epochs_give_each_sample_once_in_one_order_wherever_they_are_held(reader, monkeypatch):
    monkeypatch.setattr(loading, "WINDOW", 64)
    ram, disk = (load_set(reader, ALL, mode, ALONE)[0] for mode in ("ram", "disk"))
    batches = list(disk.epoch(1, 0, 50, ALONE))
    assert sorted(torch.cat([positions for positions, _ in batches]).tolist()) == list(range(297))
    for samples, first in ((ram, 0), (ram, 2), (disk, 2)):
        found = samples.epoch(1, 0, 50, ALONE, first)
        for (position, x), (known, _) in zip(found, batches[first:], strict=True):
            assert torch.equal(position, known)
            assert torch.equal(x, expected(reader, disk.index[known.numpy()]))


def test_load_modes():
    sizes = {("auto", 1000): "ram", ("auto", 10**15): "disk", ("ram", 10**15): "ram"}
    assert {size: loading.choose_loadmode(*size, CPU) for size in sizes} == sizes


def test_split(tmp_path):
    assert len(draw_split(2, 0, 0.99, 0).train) == 1
    assert draw_split(10, 50000, 0.2, 0).both.tolist() == list(range(10))
    with pytest.raises(DataError, match="two at least, for training"):
        draw_split(100, 1, 0.2, 0)
    split, same = (draw_split(1000, 100, 0.2, seed=3) for _ in range(2))
    assert (len(split.train), len(split.validation)) == (80, 20)
    assert split.train.tolist() == same.train.tolist()
    split = split.without(split.both[:2])
    write_npz(tmp_path / "s.npz", **vars(split))
    again = Split.load(tmp_path / "s.npz")
    assert (len(again.both), again.unusable.tolist()) == (98, split.unusable.tolist())


@pytest.mark.parametrize(("amplitude", "transform", "values"), [
    ("linear", "none", [1, 4, 9, 0]), ("sqrt", "none", [1, 2, 3, 0]),
    ("linear", "sample_normalization", [1 / 9, 4 / 9, 1, 0]),
    ("linear", "sample_norm_cent", [-2.5 / 9, 0.5 / 9, 5.5 / 9, -3.5 / 9]),
    ("sqrt", "vec_norm", np.array([1, 2, 3, 0]) / np.sqrt(14)),
    ("linear", "vec_norm", np.array([1, 4, 9, 0]) / np.sqrt(98)),
    ("log", "none", [4 + np.log10(1 / 9), 4 + np.log10(4 / 9), 4, 0]),
])  # fmt: skip
def test_values_by_hand(amplitude, transform, values):
    x = torch.tensor([[[1.0, 4.0], [9.0, 0.0]]])
    prepared = Preparation(amplitude, transform)(x)
    np.testing.assert_allclose(prepared.flatten(), values, rtol=1e-6, atol=1e-7)
    mean = torch.tensor([[0.5, 1.0], [2.0, 0.0]])
    standard = Preparation(amplitude, transform, mean, 2.0)
    np.testing.assert_allclose(standard(x), (prepared - mean) / 2)
    np.testing.assert_allclose(standard.undo_standardize(standard(x)), prepared, atol=1e-7)
    if transform != "none":  # of any size, without over- or underflow
        for factor in (1e-30, 3e37):
            np.testing.assert_allclose(standard(x * factor), standard(x), rtol=2e-5, atol=1e-6)


def test_negative_values_need_linear_amplitude(tmp_path):
    spectrogram = np.ones((9, 4, 4), np.float32)
    spectrogram[8, 1] = -1
    with open_spectrograms(write_samples(tmp_path / "f.h5", spectrogram)) as file:
        for amplitude, n in (("linear", 9), ("sqrt", 8)):
            reader = Reader(file, Preparation(amplitude, "none"), CPU)
            reader.skip_negative = True
            assert sum(len(index) for index, _ in reader.blocks(np.arange(9))) == n
        reader.skip_negative = False
        with pytest.raises(DataError, match="f.h5: sample 8 has negative values.*= linear"):
            list(reader.blocks(np.arange(9)))
