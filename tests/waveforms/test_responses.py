from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms import process as processing
from RISCluster.waveforms.process import Wave, read_inventory, usable, with_responses
from RISCluster.waveforms.read import SECOND
from tests.waveforms.waves import MIDNIGHT, RATE, rows, run, settings, write

obspy = pytest.importorskip("obspy")
made = obspy.core.inventory
ID = "XX.AAA..HHZ"
GAIN = 1e9  # counts of what is recorded


def response(gain=GAIN, unit="M/S"):
    """The sensitivity alone."""
    return made.Response(instrument_sensitivity=made.InstrumentSensitivity(gain, 1, unit, "COUNTS"))


def polynomial():
    found, stage = response(unit="M"), made.PolynomialResponseStage
    found.response_stages = [stage(1, 1.0, 1.0, "M", "V", 0.0, 1.0, 0.0, 1.0, 0.0, [0.0, 1.0])]
    return found


def stationxml(path, *epochs, channel="HHZ", site=(None, None)):
    """Write (start, end, response) as epochs of a channel of XX.AAA; times in s since 1970."""

    def span(*times):
        start, end = (time and obspy.UTCDateTime(time) for time in times)
        return {"start_date": start, "end_date": end}

    where = (10.0, 20.0, 0.0)
    channels = [
        made.Channel(channel, "--", *where, 0.0, sample_rate=RATE, response=found, **span(*times))
        for *times, found in epochs
    ]
    station = made.Station("AAA", *where, channels=channels, **span(*site))
    inventory = made.Inventory([made.Network("XX", stations=[station])], source="test")
    inventory.write(str(path), "STATIONXML")
    read_inventory.cache_clear()
    return path


def parts_of(wave, place):
    return [*with_responses([wave], ID, settings(f"build.inventory={place}").build)]


@pytest.mark.parametrize(
    ("output", "factor"),
    [("velocity", 1), ("acceleration", 10 * np.pi), ("displacement", 0.1 / np.pi)],
)
def test_velocity_of_a_known_sine(output, factor):
    """A sine of 1 mm/s, as the instrument of obspy's example records it, comes back as 1 mm/s."""
    found = obspy.read_inventory().get_response("GR.FUR..HHZ", obspy.UTCDateTime("2013-06-01"))
    gain = abs(found.get_evalresp_response_for_frequencies([5.0], output="VEL")[0])
    counts = 1e-3 * gain * np.sin(2 * np.pi * 5 * np.arange(6000) / 100)
    words = "build.detrend=none", "build.bandpass=none", f"build.output={output}"
    words = settings("build.taper=5", *words).build
    motion = processing.process(Wave(0, 100.0, counts), words, usable(found, words)[0])
    assert np.sqrt(2) * motion.data[1000:-1000].std() == pytest.approx(1e-3 * factor, rel=1e-3)


@pytest.mark.parametrize(
    ("found", "output", "unit"),
    [
        (response(gain=0.0), "velocity", "M/S"), (response(unit=None), "velocity", "no unit"),
        (response(unit="M/S**2"), "velocity", "M/S**2"), (response(unit="PA"), "velocity", "PA"),
        (polynomial(), "velocity", "M"), (polynomial(), "displacement", "M"),
    ],
)  # fmt: skip
def test_responses_that_can_not_be_used(found, output, unit):
    none, note = usable(found, settings(f"build.output={output}").build)
    assert none is None
    assert f"response is to {unit}; allowed: M, M/S, M/S**2 with stages" in note
    assert f"or a sensitivity to {output} (build.output)" in note


def test_other_instruments_are_left_out(tmp_path, logged):
    data = np.rint(1e4 * np.cos(2 * np.pi * 10 * np.arange(6000) / RATE)).astype(np.int32)
    for name, unit in (("HHZ", "M/S"), ("BDF", "PA"), ("BDG", "PA")):
        stationxml(tmp_path / f"{name}.xml", (None, None, response(unit=unit)), channel=name)
        write(tmp_path / f"{name}.mseed", (f"XX.AAA..{name}", MIDNIGHT, RATE, data))
    words = ("build.method=slide", f"build.inventory={tmp_path}")
    run(tmp_path / "*.mseed", tmp_path / "o.h5", *words)
    found = rows(tmp_path / "o.csv")
    assert {(row["trace_id"], row["unit"]) for row in found} == {(ID, "m/s")}
    assert float(found[0]["peak_amplitude"]) == pytest.approx(1e4 / GAIN, rel=2e-2)
    assert logged("has only a sensitivity: correct where the response is flat")
    (line,) = logged("left out where the response is to PA; allowed: M, M/S")
    assert line.startswith("XX.AAA..BDF 2016-01-01: ")
    assert line.endswith("(and so for 1 more)")
    with pytest.raises(DataError, match="no window in 1 station-day: .* 1 stretches without a re"):
        run(tmp_path / "BDG.mseed", tmp_path / "n.h5", *words)


@pytest.mark.parametrize("of_station", [False, True])
def test_epochs_of_a_part_of_the_day(tmp_path, of_station):
    span, no = (10_800, 32_400), (None, None)
    epoch, site = (no, span) if of_station else (span, no)
    place = stationxml(tmp_path / "s.xml", (*epoch, response()), site=site)
    parts = parts_of(Wave(0, 0.01, np.zeros(864)), place)
    assert [(x.start // SECOND, x.end // SECOND) for x, found, _ in parts if found] == [span]
    assert parts[0][1:] == (None, f"left out where {place} has no response")


def test_of_epochs_that_overlap_the_later_is_used(tmp_path):
    place = stationxml(tmp_path / "s.xml", (5, None, response(1.0)), (10, 20, response(2.0)))
    parts = parts_of(Wave(0, 2.0, np.arange(80.0)), place)
    gains = [found and found.instrument_sensitivity.value for _, found, _ in parts]
    assert gains == [None, 1, 2, 1]
    assert [wave.start // SECOND for wave, _, _ in parts] == [0, 5, 10, 20]


def test_files_of_a_folder(tmp_path):
    good = stationxml(tmp_path / "good.xml", (None, None, response()))
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
