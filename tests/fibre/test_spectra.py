import numpy as np
import pytest
import scipy.signal

from RISCluster.errors import DataError, SettingsError
from RISCluster.fibre.spectra import Spectra, spectra_of
from tests.fibre.fibre import RATE, noise, records_settings

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}


def spectra(*words, rate=RATE):
    return spectra_of(records_settings(*words).records, rate)


@pytest.mark.parametrize("taper", TAPERS)
@pytest.mark.parametrize(("window", "step"), [(64, 16), (65, 40), (50, 75)])
def test_as_scipy_has_it(taper, window, step):
    samples = noise(1000, 20) + 3
    ours = Spectra(RATE, window, step, taper, 0, window // 2 + 1, False)
    power = ours.calculate(samples)
    # scipy takes overlaps of less than a window: its steps of 1 are thinned instead.
    frequency, _, expected = scipy.signal.spectrogram(
        samples.T.astype(float), RATE, TAPERS[taper], window, window - 1
    )
    expected = expected[..., ::step].transpose(2, 0, 1)
    np.testing.assert_allclose(ours.frequency, frequency)
    assert power.dtype == np.float32
    scale = expected.max(axis=2, keepdims=True)
    np.testing.assert_allclose(power / scale, expected / scale, rtol=0, atol=1e-5)
    np.testing.assert_allclose(power[:, :, 1:].sum(2), expected[:, :, 1:].sum(2), rtol=1e-5)


def test_band_keeps_rows_of_the_whole():
    samples = noise(500)
    whole, band = spectra(), spectra("band=3-20")
    np.testing.assert_array_equal(band.frequency, np.arange(3, 21))
    np.testing.assert_array_equal(band.calculate(samples), whole.calculate(samples)[..., 3:21])
    np.testing.assert_array_equal(spectra("band=40-50").frequency, np.arange(40, 51))


def test_missing_samples_cost_the_windows_they_are_in():
    samples = noise(1000, 20)
    samples[250, 7] = np.nan
    samples[700, 8] = np.inf
    power = spectra().calculate(samples)  # windows of 100, step 50
    missing = np.isnan(power)
    expected = np.zeros((19, 20), dtype=bool)
    expected[[4, 5], 7], expected[[13, 14], 8] = True, True
    np.testing.assert_array_equal(missing.all(axis=2), expected)
    np.testing.assert_array_equal(missing.any(axis=2), expected)
    whole = spectra().calculate(noise(1000, 20))
    np.testing.assert_array_equal(power[~expected], whole[~expected])


def test_logarithm():
    samples = noise(1000)
    samples[:, 1] = 5.0
    power, logarithm = spectra().calculate(samples), spectra("power=log").calculate(samples)
    np.testing.assert_allclose(logarithm[:, 0], np.log10(power[:, 0]), rtol=1e-5)
    assert np.isnan(logarithm[:, 1]).all()
    assert (power[:, 1] == 0).all()


def test_windows_in_whole_samples():
    ours = spectra("window=0.256", "step=0.1", rate=50.0)
    assert (ours.window, ours.step) == (13, 5)
    assert ours.n_steps(13) == 1
    assert ours.n_steps(22) == 2
    with pytest.raises(DataError, match="window = 0.26 s is longer than the record of 0.24 s"):
        ours.n_steps(12)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("window=0.07",), "window = 0.07 s is 7 samples at 100 Hz; allowed: 8 or more, 0.08 s"),
        (("step=0.001",), "step = 0.001 s is 0.1 samples at 100 Hz; allowed: 1 or more"),
        (("band=60-80",), "band = 60-80 goes beyond 50 Hz, half the sampling rate"),
        (("band=3-5",), "keeps 3 rows"),
    ],
)
def test_settings_that_do_not_fit_the_rate(words, line):
    with pytest.raises(SettingsError, match=line):
        spectra(*words)


@pytest.mark.parametrize("power", ["log", "linear"])
def test_more_power_than_float32_holds_is_missing(power):
    samples = noise(400, 2)
    samples[:100] *= np.float32(1e30)
    found = spectra(f"power={power}").calculate(samples)
    assert np.isnan(found[0]).any()
    assert not np.isinf(found).any()
