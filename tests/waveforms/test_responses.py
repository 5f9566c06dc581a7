"""Responses: units, epochs, files."""

from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms import responses
from RISCluster.waveforms.build import build
from RISCluster.waveforms.process import Wave, process, taper
from RISCluster.waveforms.read import SECOND
from RISCluster.waveforms.responses import (
    ALWAYS,
    Epoch,
    cut_at_epochs,
    parse_unit,
    read_inventory,
    usable,
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


def stationxml(path, *epochs, channel="HHZ", location="", site=(None, None), net=(None, None)):
    """Write (start, end, response) as epochs of a channel of XX.AAA."""
    from obspy.core import inventory as made

    def span(start, end):
        times = zip(("start_date", "end_date"), (start, end), strict=True)
        return {key: obspy.UTCDateTime(ns=int(time)) for key, time in times if time is not None}

    where = (10.0, 20.0, 0.0)
    channels = [
        made.Channel(
            channel, location, *where, 0.0, sample_rate=RATE, response=found, **span(*times)
        )
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


def epochs_of(path, *words, trace_id=ID):
    read_inventory.cache_clear()
    return read_inventory(str(path)).epochs(trace_id, settings(*words).build)


UNITS = {
    ("m/s^2", 1): "M/S**2|m/s^2|M/(S**2)|M/SEC**2|m/s/s|m s-2|m/s2|m/s²",
    ("m/s^2", 0.01): "cm/s**2|gal",
    ("m/s", 1): "M/S|M/SEC|m*s^-1|meters per second|Metres/Second|M/S - Velocity in Meters",
    ("m/s", 1e-9): "nm/s|NM/SEC", ("m/s", 1e-3): "MM/S", ("m/s", 1e-6): "um/s|µm/s",
    ("m", 1): "M|meters", ("m", 1e-9): "nm", ("Pa", 1): "PA|Pascals", ("hPa", 1): "HPA",
    ("rad/s", 1): "RAD/S|rad/sec", ("rad/s^2", 1): "RAD/S**2", ("V", 1): "V|VOLTS",
    ("degC", 1): "C|degC", ("T", 1): "T", ("counts", 1): "COUNTS", ("m/m", 1): "M/M",
    ("W/m**2", 1): "W/m**2",
}  # fmt: skip


def test_units_in_all_spellings():
    for unit, written in UNITS.items():
        for text in written.split("|"):
            assert parse_unit(text) == (unit[0], pytest.approx(unit[1])), text


@pytest.mark.parametrize("written", ["M/S", "nm/s", "M/S**2", "NM"])
def test_ground_motion_whatever_its_spelling(written, tmp_path):
    (epoch,) = epochs_of(stationxml(tmp_path / "s.xml", (None, None, response(1e3, written))))
    unit, scale = parse_unit(written)
    assert epoch.unit == "m/s"
    wave = Wave(0, RATE, 1e4 * np.cos(2 * np.pi * 10 * np.arange(5000) / RATE))
    found = np.sqrt(2) * epoch.remove(wave, settings().build).data[1000:-1000].std()
    turns = {"m": 2 * np.pi * 10, "m/s": 1, "m/s^2": 1 / (2 * np.pi * 10)}[unit]
    assert found == pytest.approx(1e4 / GAIN * scale * turns, rel=2e-2)


def test_velocity_of_a_known_sine():
    """A sine of 1 mm/s, as the instrument of obspy's example records it, comes back as 1 mm/s."""
    found = obspy.read_inventory().get_response("GR.FUR..HHZ", obspy.UTCDateTime("2013-06-01"))
    gain = abs(found.get_evalresp_response_for_frequencies([5.0], output="VEL")[0])
    counts = 1e-3 * gain * np.sin(2 * np.pi * 5 * np.arange(6000) / 100)
    taper(counts, 500)
    speed = 2 * np.pi * 5
    for output, factor in (("velocity", 1), ("acceleration", speed), ("displacement", 1 / speed)):
        words = settings(f"build.output={output}").build
        epoch = Epoch(0, 1, **usable(found, words))
        motion = epoch.remove(Wave(0, 100.0, counts), words).data[1000:-1000]
        assert np.sqrt(2) * motion.std() == pytest.approx(1e-3 * factor, rel=1e-3)


@pytest.mark.parametrize("unit", ["PA", "RAD/S", "V", "degC"])
def test_other_instruments_keep_their_unit(unit, tmp_path, logged):
    place = stationxml(tmp_path / "s.xml", (None, None, response(1e3, unit)))
    sine(tmp_path / "a.mseed", (0, 0.4))
    row = built(tmp_path, place, "build.output=acceleration")[0]
    assert row["unit"] == parse_unit(unit)[0]
    assert float(row["peak_amplitude"]) == pytest.approx(1e4 / GAIN, rel=2e-2)
    assert len(logged("which is not acceleration: build.output does not apply")) == 1


def test_a_data_set_has_one_unit(tmp_path, logged):
    folder = tmp_path / "stations"
    folder.mkdir()
    for name, unit in (("HHZ", "M/S"), ("BDF", "PA"), ("BDG", "PA")):
        stationxml(folder / f"{name}.xml", (None, None, response(1e3, unit)), channel=name)
        sine(tmp_path / f"{name}.mseed", (0, 0.4), f"XX.AAA..{name}")
    found = built(tmp_path, folder)
    assert {(row["trace_id"], row["unit"]) for row in found} == {(ID, "m/s")}
    (line,) = logged("its response is to Pa, and the data set is in m/s; left out from")
    assert line.startswith("XX.AAA..BDF 2016-01-01: ")
    assert line.endswith("(and so for 1 more)")


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"stages": False, "sensitivity": 0.0}, "no stages, and a sensitivity of 0.0"),
        ({"stages": False, "sensitivity": float("nan")}, "and a sensitivity of nan"),
        ({"unit": None}, "no unit of what is recorded"),
        ({"unit": "M/S**2", "stages": False}, "which can't give velocity"),
    ],
)
def test_responses_that_can_not_be_used(made, why):
    inventory = responses.Inventory("s.xml", [], [], {ID: [(-ALWAYS, ALWAYS, response(**made))]})
    (epoch,) = inventory.epochs(ID, settings().build)
    assert epoch.response is None
    assert why in inventory.why_none(epoch, "m/s")


def test_the_sensitivity_alone(tmp_path, logged, capfd):
    words = settings().build
    place = stationxml(tmp_path / "s.xml", (None, None, response(1e3, "nm/s", stages=False)))
    (epoch,) = epochs_of(place)
    assert (epoch.is_flat, epoch.unit) == (True, "m/s")
    assert epoch.remove(Wave(0, RATE, np.full(4, 1e9)), words).data[0] == pytest.approx(1e-9)
    sine(tmp_path / "a.mseed", (0, 0.4))
    assert float(built(tmp_path, place)[0]["peak_amplitude"]) == pytest.approx(1e-14, rel=2e-2)
    assert len(logged("only the sensitivity in")) == 1
    # Where it contradicts the stages, these are used.
    (epoch,) = epochs_of(
        stationxml(tmp_path / "t.xml", (None, None, response(1e3, sensitivity=5e9)))
    )
    wave = Wave(0, RATE, 1e4 * np.cos(2 * np.pi * 10 * np.arange(5000) / RATE))
    found = epoch.remove(wave, words).data[1000:-1000].std() * np.sqrt(2)
    assert found == pytest.approx(1e4 / GAIN, rel=2e-2)
    assert capfd.readouterr().err == ""
    with pytest.raises((ValueError, ZeroDivisionError)):
        Epoch(0, 1, **usable(response(gain=0.0), words)).remove(wave, words)


def test_a_polynomial_takes_counts_with_their_mean():
    """Temperature is 5 degC + 0.01 degC a count."""
    from obspy.core.inventory.response import PolynomialResponseStage, Response

    stage = PolynomialResponseStage(
        1, 100.0, 0.0, "C", "COUNTS", 0.0, 1.0, -100.0, 100.0, 0.1, [5.0, 0.01]
    )
    words = settings("build.detrend=demean", "build.taper=0", "build.bandpass=none").build
    epoch = Epoch(0, 1, **usable(Response(response_stages=[stage]), words))
    assert (epoch.is_polynomial, epoch.unit) == (True, "degC")
    processed = process(Wave(0, 1.0, np.array([0.0, 1000.0])), words, epoch)
    assert processed.data.tolist() == [-5, 5]  # of 5 and 15, and not of -500 and 500 counts


def test_the_response_changes_at_noon(tmp_path, logged):
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
    assert len(logged("the response changes at 2016-01-01T12:00:00.000000Z")) == 1
    # From noon on, a sensor of another unit.
    place = stationxml(tmp_path / "t.xml", changes[0], (noon, None, response(1e3, "PA")))
    found = built(tmp_path, place, "build.step=10")
    assert {row["unit"] for row in found} == {"m/s"}
    assert max(row["starttime"] for row in found) < "2016-01-01T12"
    assert logged("left out from 2016-01-01T12:00:00.000000Z to")


@pytest.mark.parametrize(("start", "end"), [(3, 9), (20, 30), (-5, 3)])
def test_a_station_for_a_part_of_the_day(start, end, tmp_path):
    span, free = (MIDNIGHT + start * HOUR, MIDNIGHT + end * HOUR), (None, None, response())
    for place in (
        stationxml(tmp_path / "channel.xml", (*span, response())),
        stationxml(tmp_path / "station.xml", free, site=span),
        stationxml(tmp_path / "network.xml", free, net=span),
    ):
        (epoch,) = epochs_of(place)
        assert epoch[:2] == span
        wave = Wave(MIDNIGHT, 0.01, np.zeros(864))
        used = [(x.start, x.end) for x, epoch in cut_at_epochs(wave, [epoch]) if epoch]
        assert used == [(max(MIDNIGHT, span[0]), min(MIDNIGHT + DAY, span[1]))]


def test_epochs_that_overlap_or_touch(tmp_path):
    hours = [MIDNIGHT + hour * HOUR for hour in (0, 6, 12)]
    place = stationxml(  # the later one is used
        tmp_path / "s.xml", (hours[0], None, response(1e3)), (*hours[1:], response(2e3))
    )
    found = epochs_of(place)
    assert [item[:2] for item in found] == [(hours[0], hours[1]), (*hours[1:],), (hours[2], ALWAYS)]
    gains = [item.response.instrument_sensitivity.value for item in found]
    assert gains == [1e9, 2e9, 1e9]
    # Equal ones are one, also where one ends a second before the next begins.
    place = stationxml(
        tmp_path / "t.xml", (hours[0], hours[1] - SECOND, response()), (hours[1], None, response())
    )
    assert len(epochs_of(place)) == 1


@pytest.mark.parametrize("location", ["", "--", "  "])
def test_empty_location_codes(location, tmp_path):
    place = stationxml(tmp_path / "s.xml", (None, None, response()), location=location)
    for trace_id in (ID, "XX.AAA.--.HHZ"):
        (epoch,) = epochs_of(place, trace_id=trace_id)
        assert epoch.response is not None
    assert epochs_of(place, trace_id="XX.AAA.00.HHZ") == []


def test_the_sample_at_the_border_belongs_to_the_later():
    epochs = [
        Epoch(-ALWAYS, 10 * SECOND, reason="a"), Epoch(10 * SECOND, 20 * SECOND, reason="b")
    ]  # fmt: skip
    parts = cut_at_epochs(Wave(0, 2.0, np.arange(60.0)), epochs)
    assert [(len(wave.data), epoch and epoch.reason) for wave, epoch in parts] == [
        (20, "a"), (20, "b"), (20, None),
    ]  # fmt: skip
    assert [wave.start for wave, _ in parts] == [0, 10 * SECOND, 20 * SECOND]


def test_a_bad_file_of_a_folder_leaves_the_others(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    good = stationxml(folder / "good.xml", (None, None, response()))
    (folder / "cut.xml").write_bytes(good.read_bytes()[:700])
    (folder / "other.xml").write_text("<quakeml/>")
    (folder / "notes.txt").write_text("x")
    assert len(epochs_of(folder)) == 1
    lines = read_inventory(str(folder)).lines
    assert [line.split(": ")[0].rpartition("/")[2] for line in lines] == ["cut.xml", "other.xml"]
    assert all("can't be read as StationXML" in line for line in lines)
    good.unlink()
    with pytest.raises(DataError, match=r"cut.xml: can't be read .*copy it again, or leave it out"):
        epochs_of(folder)
    with pytest.raises(SettingsError, match=r"build.inventory = .*none.xml: no such file"):
        read_inventory(str(tmp_path / "none.xml"))
    for name in ("a.xml", "A.XML", "a.xml.gz", "RESP.XX.AAA..HHZ", "x.dataless", "dataless.seed"):
        assert responses.is_station_file(Path(name))
    assert not responses.is_station_file(Path("a.mseed"))
