"""Responses: units, epochs, files."""

from types import SimpleNamespace

import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.waveforms import responses
from RISCluster.waveforms.build import build
from RISCluster.waveforms.joining import Wave
from RISCluster.waveforms.process import process
from RISCluster.waveforms.responses import cut_at_epochs, parse_unit, read_inventory
from RISCluster.waveforms.sources import SECOND
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
    return made.Response(
        instrument_sensitivity=overall, response_stages=[first, second] if stages else []
    )


def stationxml(path, *epochs, channel="HHZ", location="", site=(None, None), net=(None, None)):
    """Write (start, end, response) as epochs of a channel of XX.AAA."""
    from obspy.core import inventory as made

    def time(value):
        return value if value is None else obspy.UTCDateTime(ns=int(value))

    channels = [
        made.Channel(
            channel, location, 10.0, 20.0, 0.0, 0.0, sample_rate=RATE, response=found,
            start_date=time(start), end_date=time(end),
        )
        for start, end, found in epochs
    ]  # fmt: skip
    station = made.Station(
        "AAA", 10.0, 20.0, 0.0, channels=channels, start_date=time(site[0]), end_date=time(site[1])
    )
    network = made.Network("XX", stations=[station], start_date=time(net[0]), end_date=time(net[1]))
    made.Inventory([network], source="test").write(str(path), "STATIONXML")
    return path


def sine(path, hours=(0, 24), trace_id=ID, offset=0):
    """10 Hz with an amplitude of 1e4 counts."""
    n = int((hours[1] - hours[0]) * 3600 * RATE)
    data = np.rint(offset + 1e4 * np.cos(2 * np.pi * 10 * np.arange(n) / RATE)).astype(np.int32)
    return write(path, (trace_id, MIDNIGHT + int(hours[0] * HOUR), RATE, data))


@pytest.fixture
def said(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(f"RISCluster.runtime.log.{level}", lines.append)
    return lines


def epochs_of(path, *words, trace_id=ID):
    return read_inventory(str(path)).epochs(trace_id, settings(*words).build)


def spans(epochs):
    """Start and end in hours of 2016-01-01, and counts for a unit."""
    return [
        (
            (item.start - MIDNIGHT) / HOUR,
            (item.end - MIDNIGHT) / HOUR,
            item.remover and item.remover.response.instrument_sensitivity.value,
        )
        for item in epochs
    ]


# ---- units --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "unit", "scale"),
    [
        ("M/S**2", "m/s^2", 1), ("m/s^2", "m/s^2", 1), ("M/(S**2)", "m/s^2", 1),
        ("M/SEC**2", "m/s^2", 1), ("m/s/s", "m/s^2", 1), ("m s-2", "m/s^2", 1),
        ("m/s2", "m/s^2", 1), ("m/s²", "m/s^2", 1), ("cm/s**2", "m/s^2", 0.01),
        ("gal", "m/s^2", 0.01), ("M/S", "m/s", 1), ("M/SEC", "m/s", 1), ("m*s^-1", "m/s", 1),
        ("meters per second", "m/s", 1), ("Metres/Second", "m/s", 1), ("nm/s", "m/s", 1e-9),
        ("NM/SEC", "m/s", 1e-9), ("MM/S", "m/s", 1e-3), ("um/s", "m/s", 1e-6),
        ("µm/s", "m/s", 1e-6), ("M/S - Velocity in Meters per Second", "m/s", 1),
        ("M", "m", 1), ("nm", "m", 1e-9), ("meters", "m", 1), ("PA", "Pa", 1), ("Pascals", "Pa", 1),
        ("HPA", "hPa", 1), ("RAD/S", "rad/s", 1), ("rad/sec", "rad/s", 1), ("RAD/S**2",
        "rad/s^2", 1), ("V", "V", 1), ("VOLTS", "V", 1), ("C", "degC", 1), ("degC", "degC", 1),
        ("T", "T", 1), ("COUNTS", "counts", 1), ("M/M", "m/m", 1), ("W/m**2", "W/m**2", 1),
    ],
)  # fmt: skip
def test_units_in_all_spellings(written, unit, scale):
    assert parse_unit(written) == (unit, pytest.approx(scale))


@pytest.mark.parametrize("written", ["M/S", "m/s", "nm/s", "MM/SEC", "M/S**2", "m/s^2", "NM"])
def test_ground_motion_whatever_its_spelling(written, tmp_path):
    place = stationxml(tmp_path / "s.xml", (None, None, response(1e3, written)))
    (epoch,), lines = epochs_of(place)
    unit, scale = parse_unit(written)
    assert (epoch.remover.unit, lines) == ("m/s", [])
    wave = Wave(0, RATE, 1e4 * np.cos(2 * np.pi * 10 * np.arange(5000) / RATE))
    found = np.sqrt(2) * epoch.remover(wave).data[1000:-1000].std()
    turns = {"m": 2 * np.pi * 10, "m/s": 1, "m/s^2": 1 / (2 * np.pi * 10)}[unit]
    assert found == pytest.approx(1e4 / GAIN * scale * turns, rel=2e-2)


@pytest.mark.parametrize("unit", ["PA", "RAD/S", "V", "degC", "T", "HPA", "C", "M/M"])
@pytest.mark.parametrize("output", ["velocity", "acceleration"])
def test_other_instruments_keep_their_unit(unit, output, tmp_path, said):
    place = stationxml(tmp_path / "s.xml", (None, None, response(1e3, unit)))
    sine(tmp_path / "a.mseed", (0, 1))
    words = settings(*SLIDE, f"build.inventory={place}", f"build.output={output}")
    build([str(tmp_path / "a.mseed")], tmp_path / "o.h5", words)
    row = rows(tmp_path / "o.csv")[0]
    assert row["unit"] == parse_unit(unit)[0]
    assert float(row["peak_amplitude"]) == pytest.approx(1e4 / GAIN, rel=2e-2)
    assert sum(f"which is not {output}: build.output does not apply" in line for line in said) == 1


def test_a_data_set_has_one_unit(tmp_path, said):
    folder = tmp_path / "stations"
    folder.mkdir()
    stationxml(folder / "a.xml", (None, None, response(1e3)))
    stationxml(folder / "b.xml", (None, None, response(1e3, "PA")), channel="BDF")
    stationxml(folder / "c.xml", (None, None, response(1e3, "PA")), channel="BDG")
    for name in ("HHZ", "BDF", "BDG"):
        sine(tmp_path / f"{name}.mseed", (0, 1), f"XX.AAA..{name}")
    words = settings(*SLIDE, f"build.inventory={folder}")
    build([str(tmp_path / "*.mseed")], tmp_path / "o.h5", words)
    assert {(row["trace_id"], row["unit"]) for row in rows(tmp_path / "o.csv")} == {(ID, "m/s")}
    assert (
        "XX.AAA..BDF, XX.AAA..BDG: left out where the response is to Pa, for this data set is in "
        "m/s; build.trace_ids makes one of these traces alone"
    ) in said


def test_a_sensor_of_another_unit_from_noon_on(tmp_path, said):
    place = stationxml(
        tmp_path / "s.xml",
        (None, MIDNIGHT + 12 * HOUR, response(1e3)),
        (MIDNIGHT + 12 * HOUR, None, response(1e3, "PA")),
    )
    sine(tmp_path / "a.mseed", (10, 14))
    build(
        [str(tmp_path / "a.mseed")], tmp_path / "o.h5", settings(*SLIDE, f"build.inventory={place}")
    )
    found = rows(tmp_path / "o.csv")
    assert {row["unit"] for row in found} == {"m/s"}
    assert max(row["starttime"] for row in found) < "2016-01-01T12"
    assert any("its response is to Pa; left out from 2016-01-01T12:00:00" in line for line in said)


# ---- odd responses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: response(stages=False, sensitivity=0.0), "no stages, and a sensitivity of 0.0"),
        (lambda: response(stages=False, sensitivity=float("nan")), "and a sensitivity of nan"),
        (lambda: response(gain=0.0), "its response"),
        (lambda: response(unit=None), "says no unit"),
        (lambda: response(unit="M/S**2", stages=False), "which can't give velocity"),
    ],
)
def test_responses_that_can_not_be_used(made, why, tmp_path, monkeypatch):
    found = responses.Inventory("s.xml", [])
    found.__dict__["_responses"] = {ID: [(-responses.ALWAYS, responses.ALWAYS, made())]}
    ((epoch,), _) = found.epochs(ID, settings().build)
    assert epoch.remover is None
    assert why in epoch.why_not
    assert epoch.why_not.startswith(f"{ID}: ")


def test_the_sensitivity_alone(tmp_path):
    place = stationxml(tmp_path / "s.xml", (None, None, response(1e3, "nm/s", stages=False)))
    (epoch,), _ = epochs_of(place)
    assert (epoch.remover.is_flat, epoch.remover.unit) == (True, "m/s")
    assert epoch.remover(Wave(0, RATE, np.full(4, 1e9))).data[0] == pytest.approx(1e-9)


def test_a_polynomial_takes_counts_with_their_mean(tmp_path):
    """Temperature is 5 degC + 0.01 degC a count."""
    from obspy.core.inventory.response import PolynomialResponseStage, Response

    stage = PolynomialResponseStage(
        1, 100.0, 0.0, "C", "COUNTS", 0.0, 1.0, -100.0, 100.0, 0.1, [5.0, 0.01]
    )
    made = Response(response_stages=[stage])
    remover = responses.remover_of(made, settings().build)
    assert (remover.is_polynomial, remover.unit) == (True, "degC")
    assert responses.try_out(remover, 1.0) == []
    wave = remover(Wave(0, 1.0, np.array([0.0, 1000.0])))
    assert wave.data.tolist() == [5.0, 15.0]
    words = settings("build.detrend=demean", "build.taper=0", "build.bandpass=none").build
    processed = process(Wave(0, 1.0, np.array([0.0, 1000.0])), words, remover)
    assert processed.data.tolist() == [-5, 5]  # of 5 and 15, and not of -500 and 500 counts


def test_stages_and_sensitivity_contradict(tmp_path, capfd):
    place = stationxml(tmp_path / "s.xml", (None, None, response(1e3, sensitivity=5e9)))
    (epoch,), lines = epochs_of(place)
    assert lines == [
        f"{ID}: its response in {place}: its stages give 1e+09 at 1 Hz, and it has a sensitivity "
        "of 5e+09; the stages are used"
    ]
    epoch.remover(Wave(0, RATE, np.ones(100)))
    assert capfd.readouterr().err == ""


# ---- epochs -------------------------------------------------------------------------------------


def test_the_response_changes_at_noon(tmp_path, said):
    noon = MIDNIGHT + 12 * HOUR
    place = stationxml(
        tmp_path / "s.xml",
        (None, noon, response(1e3)), (noon, None, response(2e3)),
    )  # fmt: skip
    sine(tmp_path / "a.mseed", (11, 13))
    words = settings(
        "build.method=slide", "build.step=1", "build.taper=1", f"build.inventory={place}"
    )
    build([str(tmp_path / "a.mseed")], tmp_path / "o.h5", words)
    found = rows(tmp_path / "o.csv")
    before = [float(row["peak_amplitude"]) for row in found if row["starttime"] < "2016-01-01T12"]
    after = [float(row["peak_amplitude"]) for row in found if row["starttime"] > "2016-01-01T12"]
    assert np.ptp(before) < 0.05 * before[0]
    assert np.ptp(after) < 0.05 * after[0]
    assert before[0] / after[0] == pytest.approx(2, rel=1e-3)
    # No window reaches across, nor into the second that is tapered on either side.
    assert all(not "11:59:55" < row["starttime"][11:19] < "12:00:01" for row in found)
    assert sum("the response changes at 2016-01-01T12:00:00.000000Z" in line for line in said) == 1


@pytest.mark.parametrize(("start", "end"), [(3, 9), (14, 20), (20, 30), (-5, 3)])
def test_a_station_for_a_part_of_the_day(start, end, tmp_path, said):
    span = MIDNIGHT + start * HOUR, MIDNIGHT + end * HOUR
    sine(tmp_path / "a.mseed")
    words = [*SLIDE]
    for place in (
        stationxml(tmp_path / "channel.xml", (*span, response())),
        stationxml(tmp_path / "station.xml", (None, None, response()), site=span),
        stationxml(tmp_path / "network.xml", (None, None, response()), net=span),
    ):
        said.clear()
        target = place.with_suffix(".h5")
        build([str(tmp_path / "a.mseed")], target, settings(*words, f"build.inventory={place}"))
        hours = [int(row["starttime"][11:13]) for row in rows(target.with_suffix(".csv"))]
        assert sorted(set(hours)) == list(range(max(0, start), min(24, end)))
        left = [line for line in said if "no response in" in line]
        assert len(left) == (start > 0) + (end < 24)
        assert all("; left out from 2016-01-01T" in line for line in left)
        assert not any("failed" in line for line in said)


def test_gaps_between_epochs(tmp_path, said):
    place = stationxml(
        tmp_path / "s.xml",
        (None, MIDNIGHT + 6 * HOUR, response()), (MIDNIGHT + 18 * HOUR, None, response(2e3)),
    )  # fmt: skip
    sine(tmp_path / "a.mseed")
    build(
        [str(tmp_path / "a.mseed")], tmp_path / "o.h5", settings(*SLIDE, f"build.inventory={place}")
    )
    hours = {int(row["starttime"][11:13]) for row in rows(tmp_path / "o.csv")}
    assert hours == {*range(6), *range(18, 24)}
    assert any(
        "left out from 2016-01-01T06:00:00.000000Z to 2016-01-01T18" in line for line in said
    )


def test_of_epochs_that_overlap_the_later_is_taken(tmp_path):
    place = stationxml(
        tmp_path / "s.xml",
        (MIDNIGHT, None, response(1e3)), (MIDNIGHT + 6 * HOUR, MIDNIGHT + 12 * HOUR, response(2e3)),
    )  # fmt: skip
    epochs, lines = epochs_of(place)
    assert [item[:2] for item in spans(epochs)][:2] == [(0, 6), (6, 12)]
    assert [item[2] for item in spans(epochs)] == [1e9, 2e9, 1e9]
    assert lines == [
        f"{ID}: more than one response from 2016-01-01T06:00:00Z to 2016-01-01T12:00:00Z; that "
        "which begins at 2016-01-01T06:00:00Z is taken"
    ]


def test_equal_responses_are_one_epoch(tmp_path):
    """Also where one ends a second before the next begins, as is often written."""
    place = stationxml(
        tmp_path / "s.xml",
        (MIDNIGHT, MIDNIGHT + 6 * HOUR - SECOND, response()),
        (MIDNIGHT + 6 * HOUR, None, response()),
    )  # fmt: skip
    epochs, lines = epochs_of(place)
    assert len(epochs) == 1
    assert lines == []


@pytest.mark.parametrize("location", ["", "--", "  "])
def test_empty_location_codes(location, tmp_path):
    place = stationxml(tmp_path / "s.xml", (None, None, response()), location=location)
    for trace_id in (ID, "XX.AAA.--.HHZ"):
        (epoch,), _ = epochs_of(place, trace_id=trace_id)
        assert epoch.remover is not None
    assert epochs_of(place, trace_id="XX.AAA.00.HHZ")[0] == []


def test_the_sample_at_the_border_belongs_to_the_later():
    epochs = [
        responses.Epoch(-responses.ALWAYS, 10 * SECOND, None, "a"),
        responses.Epoch(10 * SECOND, 20 * SECOND, None, "b"),
    ]
    parts = cut_at_epochs(Wave(0, 2.0, np.arange(60.0)), epochs)
    assert [(len(wave.data), epoch and epoch.why_not) for wave, epoch in parts] == [
        (20, "a"), (20, "b"), (20, None),
    ]  # fmt: skip
    assert [wave.start for wave, _ in parts] == [0, 10 * SECOND, 20 * SECOND]


def test_the_response_changes_at_midnight(tmp_path):
    middle = MIDNIGHT + DAY
    place = stationxml(
        tmp_path / "s.xml", (None, middle, response(1e3)), (middle, None, response(2e3))
    )
    sine(tmp_path / "a.mseed", (23, 25))
    build(
        [str(tmp_path / "a.mseed")], tmp_path / "o.h5", settings(*SLIDE, f"build.inventory={place}")
    )
    found = [float(row["peak_amplitude"]) for row in rows(tmp_path / "o.csv")]
    assert found[0] / found[-1] == pytest.approx(2, rel=1e-3)
    assert len(found) == 10  # those at either end and at midnight lie on tapers


# ---- files --------------------------------------------------------------------------------------


def test_levels_station_and_none(tmp_path, said):
    place = stationxml(tmp_path / "s.xml")
    sine(tmp_path / "a.mseed", (0, 1))
    with pytest.raises(DataError, match="has a response for none of the traces"):
        build([str(tmp_path / "a.mseed")], tmp_path / "o.h5", settings(f"build.inventory={place}"))
    assert any("has the station, but no response of this channel: get level" in s for s in said)


def test_a_bad_file_of_a_folder_costs_itself(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    good = stationxml(folder / "good.xml", (None, None, response()))
    (folder / "cut.xml").write_bytes(good.read_bytes()[:700])
    (folder / "other.xml").write_text("<quakeml/>")
    (folder / "notes.txt").write_text("x")
    found = read_inventory(str(folder))
    assert len(found.epochs(ID, settings().build)[0]) == 1
    assert [line.split(": ")[0].rpartition("/")[2] for line in found.lines] == [
        "cut.xml", "other.xml",
    ]  # fmt: skip
    assert all("can't be read as StationXML" in line for line in found.lines)
    good.unlink()
    read_inventory.cache_clear()
    with pytest.raises(DataError, match=r"cut.xml: can't be read .*copy it again, or leave it out"):
        read_inventory(str(folder))


def test_names_of_station_files():
    names = {
        "a.xml": True, "A.XML": True, "a.xml.gz": True, "RESP.XX.AAA..HHZ": True, 
        "x.dataless": True, "dataless.seed.BW": True, "a.mseed": False, "readme": False,
    }  # fmt: skip
    for name, is_one in names.items():
        assert responses.is_station_file(SimpleNamespace(name=name)) is is_one
