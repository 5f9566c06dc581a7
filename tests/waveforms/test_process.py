from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms import process as processing
from RISCluster.waveforms.process import Wave, join, process, read_inventory, usable, with_responses
from RISCluster.waveforms.read import SECOND
from tests.conftest import shared_data
from tests.waveforms.waves import MIDNIGHT, RATE, rows, run, settings, write

obspy = pytest.importorskip("obspy")
made = obspy.core.inventory
ID, STEP = "XX.AAA..HHZ", SECOND // 10
GAIN, NONE = 1e9, (None, None)  # counts of what is recorded, and an epoch without end


def piece(first, values):
    """A wave at 10 Hz that begins at a sample after 1970."""
    return Wave(round(first * STEP), 10.0, np.asarray(values))


LONG, INSIDE, PAIR = piece(0, range(8)), piece(3, [3, 4]), piece(0, [0, 1])


@pytest.mark.parametrize(("pieces", "expected", "removed"), [
    ([LONG, INSIDE, piece(8, [8])], [(0, [*range(9)])], {}),  # the last joins the long one
    ([LONG, piece(3, [3, 9])], [(0, [0, 1, 2]), (5, [5, 6, 7])], {processing.DISAGREE: 2}),
    ([piece(0, [0, np.nan, 2])], [(0, [0]), (2, [2])], {processing.NOT_FINITE: 1}),
    # Less than half a sample off is no gap.
    ([PAIR, piece(2.4, [2, 3])], [(0, [0, 1, 2, 3])], {}),
    ([PAIR, piece(2.6, [2, 3])], [(0, [0, 1]), (2.6, [2, 3])], {}),
])  # fmt: skip
def test_pieces_within_another_or_beside_it(pieces, expected, removed):
    counts = Counter()
    waves = join(pieces, counts, None)
    assert [(wave.start / STEP, wave.data.tolist()) for wave in waves] == expected
    assert +counts == removed


def test_times_are_those_of_the_files():
    """Pieces at 99.9995 Hz that touch, and one whose start is 0.2 samples late."""
    rate, n = 99.9995, 86_400
    first = Wave(0, rate, np.arange(n))
    second = Wave(first.end, rate, np.arange(n, 2 * n))
    (wave,) = join([first, second], Counter(), None)
    assert (len(wave.data), wave.sampling_rate) == (2 * n, rate)
    assert abs(wave.time(n) - second.start) < 1000
    late = Wave(10 * SECOND + SECOND // 5, 1.0, np.arange(10))
    (wave,) = join([Wave(0, 1.0, np.arange(10)), late], Counter(), None)
    assert wave.end == late.end


def constant(data, seconds=1.0, rate=100.0):
    """Number of samples of runs of one value, and first sample and length of the other waves."""
    removed = Counter()
    waves = join([Wave(0, rate, data)], removed, seconds)
    found = [(round(wave.start * rate / SECOND), len(wave.data)) for wave in waves]
    return removed[processing.CONSTANT], found


@pytest.mark.parametrize(
    ("offset", "size", "value"), [(5000, 200, 0), (0, 200, 0), (5000, 200, -12345), (0, 0.3, -1e20)]
)
def test_runs_of_one_value_are_gaps(offset, size, value):
    data = offset + size * np.random.default_rng(0).standard_normal(6000)
    data = np.rint(data) if size >= 1 else data
    data[2000:2150] = data[2180:2500] = data[4500:] = value
    _, waves = constant(data)
    # A neighbour may have the same value by chance.
    assert abs(np.array(waves) - [[0, 2000], [2150, 30], [2500, 2000]]).max() <= 1
    assert constant(data, None) == (0, [(0, 6000)])


def test_runs_that_are_measured_stay():
    rng, time = np.random.default_rng(1), np.arange(60_000) / 100
    few_counts = np.rint(0.8 * np.sin(0.3 * time) + 0.1 * rng.standard_normal(len(time)))
    held = np.repeat(rng.standard_normal(300), 200)
    quiet_hours = np.rint(np.where(time < 150, 0.2, 100) * rng.standard_normal(len(time)))
    for data in (few_counts, held, quiet_hours, np.zeros(500)):
        assert constant(data) == (0, [(0, len(data))])
    for name, pattern in (("rutford", "*A000_GHZ.msd"), ("mesetas", "CM.PRA*190000Z*")):
        trace = obspy.read(str(shared_data(name) / pattern))[0]
        data = trace.data[: 2**18].astype(float)
        typical = np.median(np.abs(data - np.median(data)))
        for factor in (1 / typical, 0.5, 3, 10, 100):  # of instruments of fewer counts
            counts = np.floor(data / (factor * typical))
            assert constant(counts, 1.0, trace.stats.sampling_rate)[0] == 0


def test_detrend_and_taper():
    time = np.linspace(-1, 1, 5000)
    data = np.random.default_rng(0).standard_normal(5000) + 50 * time + 7
    for kind, order in (("demean", 0), ("linear", 1), (2, 2), (5, 5)):
        found = data + 1000 * time**order
        expected = found - np.polynomial.Polynomial.fit(time, found, order)(time)
        processing.detrend(found, kind)
        np.testing.assert_allclose(found, expected, atol=1e-8)
    ones = np.ones(100)
    processing.taper(ones, 10)
    np.testing.assert_array_equal(ones[10:90], 1)
    np.testing.assert_array_equal(ones, ones[::-1])
    assert (np.diff(ones[:11]) > 0).all()


def resampled(frequency, rate):
    """A sine of a minute at a rate, with 5 s of taper, at 50 Hz."""
    data = np.sin(2 * np.pi * frequency * np.arange(round(60 * rate)) / rate)
    processing.taper(data, round(5 * rate))
    return processing.resample(Wave(123 * SECOND, rate, data), 50.0)


@pytest.mark.parametrize("before", [1000.0, 200.0, 40.0, 100.0003])
def test_resampled_sines_keep_amplitude_phase_and_time_and_are_not_folded_back(before):
    for frequency in (0.5, 10.0, 0.8 * min(before, 50.0) / 2 - 0.5):
        wave = resampled(frequency, before)
        assert (wave.start, wave.sampling_rate) == (123 * SECOND, pytest.approx(50.0, rel=1e-5))
        expected = np.sin(2 * np.pi * frequency * np.arange(500, 2500) / wave.sampling_rate)
        np.testing.assert_allclose(wave.data[500:2500], expected, atol=1e-3)
    for frequency in (25.5, 30.0, 45.0) if before > 50 else ():
        middle = resampled(frequency, before).data[500:-500]
        assert np.sqrt((middle**2).mean()) < 3e-4  # 80 dB down, give or take
    with pytest.raises(DataError, match="build.sampling_rate = 50 can't be had from 100.01 Hz"):
        resampled(1.0, 100.01)


def test_ground_motion_is_what_obspys_steps_give():
    """Amplitude spectra of windows of real data agree to 0.2 % of their maximum."""
    folder = shared_data("mesetas")
    trace = obspy.read(str(folder / "CM.PRA*190000Z*"))[0]
    trace.data = trace.data[60_000:120_000].astype(np.float64)
    place = f"build.inventory={folder / 'stations.xml'}"
    words = settings("build.sampling_rate=50", "build.taper=5", place).build
    wave = Wave(trace.stats.starttime.ns, 100.0, trace.data.copy())
    ((wave, response, note),) = with_responses([wave], "CM.PRA.00.HHZ", words)
    assert note == "has only a sensitivity: correct where the response is flat"
    wave = process(wave, words, response)
    trace.detrend("linear").taper(max_percentage=None, max_length=5, type="hann")
    trace.data = trace.data / 625853000.0  # counts s/m, from the file
    trace.resample(50.0, window=None, no_filter=True)
    trace.filter("bandpass", freqmin=3, freqmax=20, corners=4, zerophase=True)
    for first in (5000, 15000, 25000):
        part, window = slice(first, first + 200), np.hanning(200)
        ours, theirs = (np.abs(np.fft.rfft(x.data[part] * window)) for x in (wave, trace))
        np.testing.assert_allclose(ours, theirs, atol=2e-3 * theirs.max())


def test_velocity_of_a_known_sine():
    """A sine of 1 mm/s, as the instrument of obspy's example records it, comes back as 1 mm/s."""
    found = obspy.read_inventory().get_response("GR.FUR..HHZ", obspy.UTCDateTime("2013-06-01"))
    gain = abs(found.get_evalresp_response_for_frequencies([5.0], output="VEL")[0])
    words = "build.detrend=none", "build.bandpass=none", "build.taper=5"
    factors = {"velocity": 1, "acceleration": 10 * np.pi, "displacement": 0.1 / np.pi}
    for output, factor in factors.items():
        own = settings(*words, f"build.output={output}").build
        counts = 1e-3 * gain * np.sin(2 * np.pi * 5 * np.arange(6000) / 100)
        motion = process(Wave(0, 100.0, counts), own, usable(found, own)[0])
        assert np.sqrt(2) * motion.data[1000:-1000].std() == pytest.approx(1e-3 * factor, rel=1e-3)


def sensitivity(gain=GAIN, unit="M/S"):
    return made.Response(instrument_sensitivity=made.InstrumentSensitivity(gain, 1, unit, "COUNTS"))


def polynomial():
    found, stage = sensitivity(unit="M"), made.PolynomialResponseStage
    found.response_stages = [stage(1, 1.0, 1.0, "M", "V", 0.0, 1.0, 0.0, 1.0, 0.0, [0.0, 1.0])]
    return found


@pytest.mark.parametrize(("found", "output", "unit"), [
    (sensitivity(0.0), "velocity", "M/S"), (sensitivity(unit=None), "velocity", "no unit"),
    (sensitivity(unit="M/S**2"), "velocity", "M/S**2"),
    (polynomial(), "velocity", "M"), (polynomial(), "displacement", "M"),
])  # fmt: skip
def test_responses_that_can_not_be_used(found, output, unit):
    none, note = usable(found, settings(f"build.output={output}").build)
    assert none is None
    assert f"response is to {unit}; allowed: M, M/S, M/S**2 with stages" in note
    assert f"or a sensitivity to {output} (build.output)" in note


def stationxml(path, *epochs, channel="HHZ", site=NONE):
    """Write (start, end, response) as epochs of a channel of XX.AAA; times in s since 1970."""

    def span(start, end):
        return {"start_date": start and time(start), "end_date": end and time(end)}

    time, where = obspy.UTCDateTime, (10.0, 20.0, 0.0)
    channels = [
        made.Channel(channel, "--", *where, 0.0, sample_rate=RATE, response=found, **span(*times))
        for *times, found in epochs
    ]
    station = made.Station("AAA", *where, channels=channels, **span(*site))
    inventory = made.Inventory([made.Network("XX", stations=[station])], source="test")
    inventory.write(str(path), "STATIONXML")
    read_inventory.cache_clear()
    return path


def test_other_instruments_are_left_out(tmp_path, logged):
    data = np.rint(1e4 * np.cos(2 * np.pi * 10 * np.arange(6000) / RATE)).astype(np.int32)
    for name, unit in (("HHZ", "M/S"), ("BDF", "PA"), ("BDG", "PA")):
        stationxml(tmp_path / f"{name}.xml", (*NONE, sensitivity(unit=unit)), channel=name)
        write(tmp_path / f"{name}.mseed", (f"XX.AAA..{name}", MIDNIGHT, RATE, data))
    words = ("build.method=slide", f"build.inventory={tmp_path}")
    run(tmp_path / "*.mseed", tmp_path / "o.h5", *words)
    found = rows(tmp_path / "o.csv")
    assert {(row["trace_id"], row["unit"]) for row in found} == {(ID, "m/s")}
    assert float(found[0]["peak_amplitude"]) == pytest.approx(1e4 / GAIN, rel=2e-2)
    (line,) = logged("left out where the response is to PA; allowed: M, M/S")
    assert line.startswith("XX.AAA..BDF 2016-01-01: ")
    assert line.endswith("(and so for 1 more)")
    with pytest.raises(DataError, match="1 stretches without a response; to .* that: give resp"):
        run(tmp_path / "BDG.mseed", tmp_path / "n.h5", *words)


@pytest.mark.parametrize(("epochs", "site", "gains"), [
    ([(5, 20, 1.0)], NONE, [(0, None), (5, 1), (20, None)]),
    ([(*NONE, 1.0)], (5, 20), [(0, None), (5, 1), (20, None)]),
    ([(5, None, 1.0), (10, 20, 2.0)], NONE, [(0, None), (5, 1), (10, 2), (20, 1)]),
])  # fmt: skip
def test_epochs_of_a_part_of_the_data(tmp_path, epochs, site, gains):
    """Of those that overlap the later is used."""
    epochs = [(*times, sensitivity(gain)) for *times, gain in epochs]
    place = stationxml(tmp_path / "s.xml", *epochs, site=site)
    words = settings(f"build.inventory={place}").build
    parts = [*with_responses([Wave(0, 2.0, np.zeros(80))], ID, words)]
    found = [(x.start / SECOND, own and own.instrument_sensitivity.value) for x, own, _ in parts]
    assert (found, parts[-1][0].end) == (gains, 40 * SECOND)
    assert parts[0][2] == f"left out where {place} has no response"


def test_files_of_a_folder(tmp_path):
    good = stationxml(tmp_path / "good.xml", (*NONE, sensitivity()))
    (tmp_path / "notes.txt").write_text("x")
    assert len(read_inventory(str(tmp_path))) == 1
    read_inventory.cache_clear()
    (tmp_path / "cut.xml").write_bytes(good.read_bytes()[:700])
    with pytest.raises(DataError, match=r"cut.xml: can't be read as StationXML .*, or leave it o"):
        read_inventory(str(tmp_path))
    with pytest.raises(SettingsError, match=r"build.inventory = .*none.xml: no such file"):
        read_inventory(str(tmp_path / "none.xml"))
    for name in ("A.XML", "a.xml.gz", "RESP.XX.AAA..HHZ", "x.dataless", "dataless.seed"):
        assert processing.is_station_file(Path(name))
    assert not processing.is_station_file(Path("a.mseed"))
