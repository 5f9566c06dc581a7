import numpy as np
import pytest
from scipy import signal

from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms.joining import Wave
from RISCluster.waveforms.process import band_pass, detrend, process, resample, taper
from RISCluster.waveforms.read import import_obspy
from RISCluster.waveforms.responses import read_inventory, remover_of
from tests.conftest import shared_data
from tests.waveforms.waves import SECOND, settings

PRA = "CM.PRA.00.HHZ"
EXAMPLE = "GR.FUR..HHZ"  # of obspy's own inventory, with all stages


def test_detrend_is_scipys():
    data = np.random.default_rng(0).standard_normal(5000) + 0.01 * np.arange(5000) + 7
    for ours, theirs in (("linear", "linear"), ("demean", "constant")):
        found = data.copy()
        detrend(found, ours)
        np.testing.assert_allclose(found, signal.detrend(data, type=theirs), atol=1e-10)
    found = data.copy()
    detrend(found, "none")
    np.testing.assert_array_equal(found, data)


def test_taper_touches_the_ends_alone():
    data = np.ones(100)
    taper(data, 10)
    np.testing.assert_array_equal(data[10:90], 1)
    np.testing.assert_array_equal(data, data[::-1])
    assert (np.diff(data[:11]) > 0).all()
    assert data[0] < 0.01
    short = np.ones(5)
    taper(short, 10)
    assert short[2] == 1  # no more than half is tapered


def sine(frequency, rate, seconds=60.0):
    data = np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    taper(data, round(5 * rate))
    return Wave(123 * SECOND, rate, data)


@pytest.mark.parametrize("rates", [(1000.0, 50.0), (200.0, 50.0), (40.0, 50.0), (99.98765, 50.0)])
def test_resampled_sines_keep_amplitude_phase_and_time(rates):
    before, after = rates
    for frequency in (0.5, 10.0, 0.8 * min(rates) / 2 - 0.5):
        wave = resample(sine(frequency, before), after)
        assert (wave.start, wave.sampling_rate) == (123 * SECOND, after)
        middle = slice(round(10 * after), round(50 * after))
        time = np.arange(len(wave.data)) / after
        expected = np.sin(2 * np.pi * frequency * time)[middle]
        np.testing.assert_allclose(wave.data[middle], expected, atol=1e-3)


@pytest.mark.parametrize("before", [1000.0, 200.0, 99.98765])
@pytest.mark.parametrize("frequency", [25.5, 30.0, 45.0])
def test_nothing_is_folded_back(before, frequency):
    wave = resample(sine(frequency, before), 50.0)
    middle = wave.data[500:-500]
    assert np.sqrt((middle**2).mean()) < 3e-4  # 80 dB down, give or take


def test_band_pass_is_obspys():
    obspy = import_obspy()
    wave = Wave(0, 50.0, np.random.default_rng(0).standard_normal(3000))
    trace = obspy.Trace(wave.data.copy(), {"sampling_rate": 50.0})
    trace.filter("bandpass", freqmin=3, freqmax=20, corners=4, zerophase=True)
    np.testing.assert_allclose(band_pass(wave, settings().build), trace.data, atol=1e-10)


def test_a_band_from_zero_is_a_low_pass():
    slow = Wave(0, 50.0, np.cos(2 * np.pi * 0.5 * np.arange(3000) / 50))
    kept = band_pass(slow, settings("build.bandpass=0-5").build)
    np.testing.assert_allclose(kept[500:-500], slow.data[500:-500], atol=1e-6)


def test_velocity_of_a_known_sine():
    """A sine of 1 mm/s, as the example's instrument records it, comes back as 1 mm/s."""
    obspy = import_obspy()
    response = obspy.read_inventory().get_response(EXAMPLE, obspy.UTCDateTime("2013-06-01"))
    gain = abs(response.get_evalresp_response_for_frequencies([5.0], output="VEL")[0])
    counts = sine(5.0, 100.0)
    counts.data[:] *= 1e-3 * gain
    speed = 2 * np.pi * 5
    for output, factor in (("velocity", 1), ("acceleration", speed), ("displacement", 1 / speed)):
        remover = remover_of(response, settings(f"build.output={output}").build)
        motion = remover(counts).data[1000:-1000]
        assert np.sqrt(2) * motion.std() == pytest.approx(1e-3 * factor, rel=1e-3)


def test_an_inventory_that_is_not_there_or_does_not_fit(tmp_path):
    with pytest.raises(SettingsError, match="build.inventory = .*none.xml: no such file"):
        read_inventory(str(tmp_path / "none.xml"))
    (tmp_path / "bad.xml").write_text("<xml>")
    with pytest.raises(DataError, match=r"bad.xml: can't be read as StationXML"):
        read_inventory(str(tmp_path / "bad.xml"))
    inventory = read_inventory(str(shared_data("mesetas") / "stations.xml"))
    assert inventory.epochs("XX.NONE..HHZ", settings().build) == ([], [])
    assert inventory.why_none("XX.NONE..HHZ").startswith("XX.NONE..HHZ: no response in")
    epochs, _ = inventory.epochs(PRA, settings("build.output=acceleration").build)
    assert "only the sensitivity to m/s, which can't give accel" in epochs[-1].why_not


def test_ground_motion_is_what_obspys_steps_give():
    """Amplitude spectra of windows of real data agree to 0.2 % of their maximum."""
    folder, obspy = shared_data("mesetas"), import_obspy()
    place, time = str(folder / "stations.xml"), obspy.UTCDateTime("2019-12-24T19:10:00")
    (path,) = folder.glob("CM.PRA*190000Z*")
    trace = obspy.read(str(path), starttime=time, endtime=time + 600)[0]
    trace.data = trace.data[:60_000].astype(np.float64)  # an odd number stretches obspy's result
    words = settings("build.sampling_rate=50", "build.taper=5", f"build.inventory={place}").build
    start, data = trace.stats.starttime.ns, trace.data.copy()
    epochs, _ = read_inventory(place).epochs(PRA, words)
    (remover,) = (item.remover for item in epochs if item.start <= start < item.end)
    wave = process(Wave(start, 100.0, data), words, remover)
    trace.detrend("linear")
    trace.taper(max_percentage=None, max_length=5, type="hann")
    trace.data = trace.data / 625853000.0  # counts s/m, from the file
    trace.resample(50.0, window=None, no_filter=True)
    trace.filter("bandpass", freqmin=3, freqmax=20, corners=4, zerophase=True)
    for first in (5000, 15000, 25000):
        ours, theirs = (
            np.abs(np.fft.rfft(found[first : first + 200] * np.hanning(200)))
            for found in (wave.data, trace.data)
        )
        np.testing.assert_allclose(ours, theirs, atol=2e-3 * theirs.max())
