from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms.build import build
from RISCluster.waveforms.process import Wave, remove_response, taper
from RISCluster.waveforms.read import SECOND
from RISCluster.waveforms.responses import (
    is_station_file,
    read_inventory,
    usable,
    with_responses,
)
from tests.waveforms.waves import DAY, MIDNIGHT, rows, settings, write

obspy = pytest.importorskip("obspy")
ID, RATE = "XX.AAA..HHZ", 50.0
HOUR = 3600 * SECOND
GAIN = 1e9  # counts of what is recorded, at 10 Hz
SLIDE = ("build.method=slide", "build.step=600", "build.taper=1")


def response(gain=1e3, unit="M/S", stages=True, sensitivity=None):
    """A flat response of two stages, or the sensitivity alone."""
    from obspy.core.inventory import response as made

    first = made.PolesZerosResponseStage(
        1, gain, 1.0, unit, "V", "LAPLACE (RADIANS/SECOND)", 1.0, [], [], normalization_factor=1.0
    )
    second = made.CoefficientsTypeResponseStage(
        2, 1e6, 1.0, "V", "COUNTS", "DIGITAL", numerator=[1.0], denominator=[],
        decimation_input_sample_rate=RATE, decimation_factor=1, decimation_offset=0,
        decimation_delay=0.0, decimation_correction=0.0,
    )  # fmt: skip
    value = gain * 1e6 if sensitivity is None else sensitivity
    overall = made.InstrumentSensitivity(value, 1.0, unit, "COUNTS")
    stages = [first, second] if stages else []
    return made.Response(instrument_sensitivity=overall, response_stages=stages)


def stationxml(path, *epochs, channel="HHZ", site=(None, None), net=(None, None)):
    """Write (start, end, response) as epochs of a channel of XX.AAA."""
    from obspy.core import inventory as made

    def span(start, end):
        times = zip(("start_date", "end_date"), (start, end), strict=True)
        return {key: obspy.UTCDateTime(ns=int(time)) for key, time in times if time is not None}

    where = (10.0, 20.0, 0.0)
    channels = [
        made.Channel(channel, "", *where, 0.0, sample_rate=RATE, response=found, **span(*times))
        for *times, found in epochs
    ]
    station = made.Station("AAA", *where, channels=channels, **span(*site))
    network = made.Network("XX", stations=[station], **span(*net))
    made.Inventory([network], source="test").write(str(path), "STATIONXML")
    return path


def sine(path, hours=(0, 24), trace_id=ID):
    """10 Hz with an amplitude of 1e4 counts."""
    n = int((hours[1] - hours[0]) * 3600 * RATE)
    data = np.rint(1e4 * np.cos(2 * np.pi * 10 * np.arange(n) / RATE)).astype(np.int32)
    return write(path, (trace_id, MIDNIGHT + int(hours[0] * HOUR), RATE, data))


def built(folder, place, *words):
    """Rows of the catalogue of the waveforms in a folder, with an inventory."""
    target = folder / "o.h5"
    words = settings(*SLIDE, f"build.inventory={place}", *words)
    read_inventory.cache_clear()
    build([str(folder / "*.mseed")], target, words, overwrite=True)
    return rows(target.with_suffix(".csv"))


def parts_of(wave, place, *words):
    read_inventory.cache_clear()
    return with_responses(wave, ID, settings(f"build.inventory={place}", *words).build)


def amplitude(data):
    return np.sqrt(2) * data[1000:-1000].std()


@pytest.mark.parametrize("written", ["M/S", "m/s", "M/S**2", "m/sec**2", "M"])
def test_ground_motion_whatever_its_unit(written):
    words, turns = settings("build.water_level=none").build, 2 * np.pi * 10
    found, note = usable(response(1e3, written), words)
    wave = Wave(0, RATE, 1e4 * np.cos(turns * np.arange(5000) / RATE))
    factor = {"M": turns, "M/S": 1}.get(written.upper(), 1 / turns)
    moved = remove_response(wave, found, words)
    assert amplitude(moved.data) == pytest.approx(1e4 / GAIN * factor, rel=2e-2)
    assert note == ""


def test_velocity_of_a_known_sine():
    """A sine of 1 mm/s, as the instrument of obspy's example records it, comes back as 1 mm/s."""
    found = obspy.read_inventory().get_response("GR.FUR..HHZ", obspy.UTCDateTime("2013-06-01"))
    gain = abs(found.get_evalresp_response_for_frequencies([5.0], output="VEL")[0])
    counts = 1e-3 * gain * np.sin(2 * np.pi * 5 * np.arange(6000) / 100)
    taper(counts, 500)
    speed = 2 * np.pi * 5
    for output, factor in (("velocity", 1), ("acceleration", speed), ("displacement", 1 / speed)):
        words = settings(f"build.output={output}").build
        motion = remove_response(Wave(0, 100.0, counts), usable(found, words)[0], words)
        assert amplitude(motion.data) == pytest.approx(1e-3 * factor, rel=1e-3)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"stages": False, "sensitivity": 0.0}, "to M/S, without stages; allowed: M, M/S, M/S**2"),
        ({"stages": False, "sensitivity": float("nan")}, "to M/S, without stages"),
        ({"unit": None}, "to no unit, with stages"),
        ({"unit": "PA"}, "to PA, with stages"),
        ({"unit": "nm/s"}, "to nm/s, with stages"),
        ({"unit": "M/S**2", "stages": False}, "or a sensitivity to velocity (build.output)"),
    ],
)
def test_responses_that_can_not_be_used(made, why):
    found, note = usable(response(**made), settings().build)
    assert found is None
    assert why in note


def test_other_instruments_are_left_out(tmp_path, logged):
    folder = tmp_path / "stations"
    folder.mkdir()
    for name, unit in (("HHZ", "M/S"), ("BDF", "PA"), ("BDG", "PA")):
        stationxml(folder / f"{name}.xml", (None, None, response(1e3, unit)), channel=name)
        sine(tmp_path / f"{name}.mseed", (0, 0.4), f"XX.AAA..{name}")
    found = built(tmp_path, folder)
    assert {(row["trace_id"], row["unit"]) for row in found} == {(ID, "m/s")}
    assert float(found[0]["peak_amplitude"]) == pytest.approx(1e4 / GAIN, rel=2e-2)
    (line,) = logged("left out where the response is to PA, with stages; allowed: M, M/S")
    assert line.startswith("XX.AAA..BDF 2016-01-01: ")
    assert line.endswith("(and so for 1 more)")
    with pytest.raises(DataError, match="no window in 1 station-day: .* 1 stretches without a re"):
        built(tmp_path, folder, "build.trace_ids=*.BDF")


def test_the_sensitivity_alone(tmp_path, logged):
    place = stationxml(tmp_path / "s.xml", (None, None, response(1e3, stages=False)))
    sine(tmp_path / "a.mseed", (0, 0.4))
    amplitude = float(built(tmp_path, place)[0]["peak_amplitude"])
    assert amplitude == pytest.approx(1e4 / GAIN, rel=2e-2)
    assert len(logged("has only a sensitivity: correct where the response is flat")) == 1
    words = settings().build
    with pytest.raises((ValueError, ZeroDivisionError)):
        remove_response(Wave(0, RATE, np.ones(100)), response(gain=0.0), words)


def test_the_response_changes_at_noon(tmp_path):
    noon = MIDNIGHT + 12 * HOUR
    changes = (None, noon, response(1e3)), (noon, None, response(2e3))
    sine(tmp_path / "a.mseed", (11.9, 12.1))
    found = built(tmp_path, stationxml(tmp_path / "s.xml", *changes), "build.step=1")
    before = [float(row["peak_amplitude"]) for row in found if row["starttime"] < "2016-01-01T12"]
    after = [float(row["peak_amplitude"]) for row in found if row["starttime"] > "2016-01-01T12"]
    assert np.ptp(before) < 0.05 * before[0]
    assert np.ptp(after) < 0.05 * after[0]
    assert before[0] / after[0] == pytest.approx(2, rel=1e-3)
    # No window reaches across, nor into the second that is tapered on either side.
    assert all(not "11:59:55" < row["starttime"][11:19] < "12:00:01" for row in found)
    # From noon on, a sensor of another unit.
    place = stationxml(tmp_path / "t.xml", changes[0], (noon, None, response(1e3, "PA")))
    found = built(tmp_path, place, "build.step=10")
    assert max(row["starttime"] for row in found) < "2016-01-01T12"


@pytest.mark.parametrize(("start", "end"), [(3, 9), (20, 30), (-5, 3)])
def test_a_station_for_a_part_of_the_day(start, end, tmp_path):
    span, free = (MIDNIGHT + start * HOUR, MIDNIGHT + end * HOUR), (None, None, response())
    for place in (
        stationxml(tmp_path / "channel.xml", (*span, response())),
        stationxml(tmp_path / "station.xml", free, site=span),
        stationxml(tmp_path / "network.xml", free, net=span),
    ):
        parts = parts_of(Wave(MIDNIGHT, 0.01, np.zeros(864)), place)
        used = [(wave.start, wave.end) for wave, found, _ in parts if found]
        assert used == [(max(MIDNIGHT, span[0]), min(MIDNIGHT + DAY, span[1]))]


def test_of_epochs_that_overlap_the_later_is_used(tmp_path):
    first, second = response(1e3), response(2e3)
    place = stationxml(tmp_path / "s.xml", (0, None, first), (10 * SECOND, 20 * SECOND, second))
    parts = parts_of(Wave(-5 * SECOND, 2.0, np.arange(80.0)), place)
    gains = [found and found.instrument_sensitivity.value for _, found, _ in parts]
    assert gains == [None, 1e9, 2e9, 1e9]
    assert [wave.start // SECOND for wave, _, _ in parts] == [-5, 0, 10, 20]
    assert parts[0][2] == f"left out where {place} has no response"


def test_files_of_a_folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    good = stationxml(folder / "good.xml", (None, None, response()))
    (folder / "notes.txt").write_text("x")
    assert len(read_inventory(str(folder))) == 1
    (folder / "cut.xml").write_bytes(good.read_bytes()[:700])
    read_inventory.cache_clear()
    with pytest.raises(DataError, match=r"cut.xml: can't be read as StationXML .*, or leave it o"):
        read_inventory(str(folder))
    with pytest.raises(SettingsError, match=r"build.inventory = .*none.xml: no such file"):
        read_inventory(str(tmp_path / "none.xml"))
    for name in ("a.xml", "A.XML", "a.xml.gz", "RESP.XX.AAA..HHZ", "x.dataless", "dataless.seed"):
        assert is_station_file(Path(name))
    assert not is_station_file(Path("a.mseed"))
