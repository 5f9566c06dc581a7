import re
from pathlib import Path

import numpy as np
import pytest

from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms.process import (
    Wave,
    is_station_file,
    read_inventory,
    remove_response,
    taper,
    usable,
    with_responses,
)
from RISCluster.waveforms.read import SECOND
from tests.waveforms.waves import MIDNIGHT, rows, run, settings, write

obspy = pytest.importorskip("obspy")
ID, RATE = "XX.AAA..HHZ", 50.0
HOUR = 3600 * SECOND
GAIN = 1e9  # counts of what is recorded
SLIDE = ("build.method=slide", "build.step=1", "build.taper=1")


def response(gain=GAIN, unit="M/S"):
    """The sensitivity alone."""
    from obspy.core.inventory.response import InstrumentSensitivity, Response

    return Response(instrument_sensitivity=InstrumentSensitivity(gain, 1.0, unit, "COUNTS"))


def stationxml(path, *epochs, channel="HHZ", site=(None, None)):
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
    inventory = made.Inventory([made.Network("XX", stations=[station])], source="test")
    inventory.write(str(path), "STATIONXML")
    return path


def sine(path, start=MIDNIGHT, trace_id=ID):
    """6 minutes of 10 Hz with an amplitude of 1e4 counts."""
    data = np.rint(1e4 * np.cos(2 * np.pi * 10 * np.arange(18_000) / RATE)).astype(np.int32)
    return write(path, (trace_id, int(start), RATE, data))


def built(folder, place, *words):
    """Rows of the catalogue of the waveforms in a folder, with an inventory."""
    read_inventory.cache_clear()
    words = (*SLIDE, f"build.inventory={place}", *words)
    run(folder / "*.mseed", folder / "o.h5", *words, overwrite=True)
    return rows(folder / "o.csv")


def parts_of(wave, place):
    read_inventory.cache_clear()
    return with_responses([wave], ID, settings(f"build.inventory={place}").build)


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
        assert np.sqrt(2) * motion.data[1000:-1000].std() == pytest.approx(1e-3 * factor, rel=1e-3)


def polynomial():
    found = response(unit="M")
    found.response_stages = [
        obspy.core.inventory.PolynomialResponseStage(
            1, 1.0, 1.0, "M", "V", 0.0, 1.0, 0.0, 1.0, 0.0, [0.0, 1.0]
        )
    ]
    return found


@pytest.mark.parametrize(
    ("found", "unit"),
    [
        (response(gain=0.0), "M/S"), (response(unit=None), "no unit"),
        (response(unit="M/S**2"), r"M/S\*\*2"), (response(unit="PA"), "PA"), (polynomial(), "M"),
    ],
)  # fmt: skip
def test_responses_that_can_not_be_used(found, unit):
    for output in ("velocity",) if unit != "M" else ("velocity", "displacement"):
        none, note = usable(found, settings(f"build.output={output}").build)
        assert none is None
        wanted = rf"response is to {unit}; allowed: M, M/S, M/S\*\*2 with stages .* to {output} \("
        assert re.search(wanted, note)


def test_other_instruments_are_left_out(tmp_path, logged):
    folder = tmp_path / "stations"
    folder.mkdir()
    for name, unit in (("HHZ", "M/S"), ("BDF", "PA"), ("BDG", "PA")):
        place = stationxml(folder / f"{name}.xml", (None, None, response(unit=unit)), channel=name)
        sine(tmp_path / f"{name}.mseed", trace_id=f"XX.AAA..{name}")
    found = built(tmp_path, folder)
    assert {(row["trace_id"], row["unit"]) for row in found} == {(ID, "m/s")}
    assert float(found[0]["peak_amplitude"]) == pytest.approx(1e4 / GAIN, rel=2e-2)
    assert logged("has only a sensitivity: correct where the response is flat")
    (line,) = logged("left out where the response is to PA; allowed: M, M/S")
    assert line.startswith("XX.AAA..BDF 2016-01-01: ")
    assert line.endswith("(and so for 1 more)")
    with pytest.raises(DataError, match="no window in 1 station-day: .* 1 stretches without a re"):
        built(tmp_path, place, "build.trace_ids=*.BDF")


def test_a_station_for_a_part_of_the_day(tmp_path):
    span = MIDNIGHT + 3 * HOUR, MIDNIGHT + 9 * HOUR
    for place in (
        stationxml(tmp_path / "channel.xml", (*span, response())),
        stationxml(tmp_path / "station.xml", (None, None, response()), site=span),
    ):
        parts = parts_of(Wave(MIDNIGHT, 0.01, np.zeros(864)), place)
        assert [(wave.start, wave.end) for wave, found, _ in parts if found] == [span]


def test_of_epochs_that_overlap_the_later_is_used(tmp_path):
    epochs = (0, None, response(1.0)), (10 * SECOND, 20 * SECOND, response(2.0))
    place = stationxml(tmp_path / "s.xml", *epochs)
    parts = parts_of(Wave(-5 * SECOND, 2.0, np.arange(80.0)), place)
    gains = [found and found.instrument_sensitivity.value for _, found, _ in parts]
    assert gains == [None, 1, 2, 1]
    assert [wave.start // SECOND for wave, _, _ in parts] == [-5, 0, 10, 20]
    assert parts[0][2] == f"left out where {place} has no response"


def test_dashes_are_no_location(tmp_path):
    place = stationxml(tmp_path / "s.xml", (None, None, response()))
    place.write_text(place.read_text().replace('locationCode=""', 'locationCode="--"'))
    ((_, found, _),) = parts_of(Wave(MIDNIGHT, 2.0, np.arange(80.0)), place)
    assert found


def test_files_of_a_folder(tmp_path):
    good = stationxml(tmp_path / "good.xml", (None, None, response()))
    (tmp_path / "notes.txt").write_text("x")
    assert len(read_inventory(str(tmp_path))) == 1
    (tmp_path / "cut.xml").write_bytes(good.read_bytes()[:700])
    read_inventory.cache_clear()
    with pytest.raises(DataError, match=r"cut.xml: can't be read as StationXML .*, or leave it o"):
        read_inventory(str(tmp_path))
    with pytest.raises(SettingsError, match=r"build.inventory = .*none.xml: no such file"):
        read_inventory(str(tmp_path / "none.xml"))
    for name in ("A.XML", "a.xml.gz", "RESP.XX.AAA..HHZ", "x.dataless", "dataless.seed"):
        assert is_station_file(Path(name))
    assert not is_station_file(Path("a.mseed"))
