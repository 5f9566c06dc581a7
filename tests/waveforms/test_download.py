import io
import os
import signal
from datetime import UTC, datetime

import numpy as np
import pytest

from RISCluster.data.storage import find_files
from RISCluster.errors import DataError, RunError, SettingsError, Stopped
from RISCluster.waveforms.download import (
    Request,
    _is_whole,
    download,
    obspy,
    read_credentials,
)
from tests.waveforms.fdsn_server import START, Centre, trace_of

CODES = {"AAA": ["HHZ", "HHN"], "BBB": ["HHZ"]}
N_FILES = 9  # three channels, an hour in three files


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("RISCluster.waveforms.download.PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def centre():
    with Centre(CODES) as running:
        yield running


def asking(*urls, **changes):
    values = {
        "network": "XX", "station": "*", "location": "*", "channel": "HH?", "chunk": 1200.0,
        "start": datetime(2020, 1, 1, tzinfo=UTC), "end": datetime(2020, 1, 1, 1, tzinfo=UTC),
        "providers": urls,
    }  # fmt: skip
    return Request(**(values | changes))


def waveforms_in(folder, pattern="*.mseed"):
    stream = obspy.Stream()
    for path in sorted(folder.rglob(pattern)):
        stream += obspy.read(str(path))
    return stream.merge(method=-1).sort()


def names_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_every_sample_and_response_arrives(centre, tmp_path):
    summary = download(asking(centre.url), tmp_path)
    assert (summary.new, summary.existing, summary.wanted) == (N_FILES, 0, N_FILES)
    assert summary.stations == ("XX.AAA", "XX.BBB")
    assert not any((summary.missing, summary.failures, summary.without_response))
    found = {trace.id: trace for trace in waveforms_in(tmp_path)}
    assert sorted(found) == ["XX.AAA..HHN", "XX.AAA..HHZ", "XX.BBB..HHZ"]
    for (station, channel), trace in centre.waveforms.items():
        got = found[f"XX.{station}..{channel}"]
        assert got.stats.starttime == START
        np.testing.assert_array_equal(got.data, trace.data)
    assert (tmp_path / "XX/AAA/XX.AAA..HHN__20200101T002000Z__20200101T004000Z.mseed").exists()
    assert (tmp_path / "stations/XX.BBB.xml").exists()
    assert not [name for name in names_in(tmp_path) if not name.endswith((".mseed", ".xml"))]
    assert len(find_files([str(tmp_path)])) == N_FILES
    # Again: no waveforms and no responses are asked for.
    before = centre.requests.copy()
    summary = download(asking(centre.url), tmp_path)
    assert (summary.new, summary.existing) == (0, N_FILES)
    assert centre.requests - before == {"list": 1}


def test_a_longer_span_asks_for_what_is_new(centre, tmp_path):
    early = asking(centre.url, end=datetime(2020, 1, 1, 0, 40, tzinfo=UTC))
    assert download(early, tmp_path).new == 6
    centre.asked.clear()
    summary = download(asking(centre.url), tmp_path)
    assert (summary.new, summary.existing) == (3, 6)
    assert {line.split()[4] for line in centre.asked} == {"2020-01-01T00:40:00.000000"}


def test_files_begin_at_multiples_of_their_length(centre, tmp_path):
    late = asking(centre.url, station="BBB", start=datetime(2020, 1, 1, 0, 10, tzinfo=UTC))
    download(late, tmp_path)
    spans = [name.split("__")[1] for name in names_in(tmp_path) if name.endswith("mseed")]
    assert spans == ["20200101T001000Z", "20200101T002000Z", "20200101T004000Z"]


def test_other_channels_leave_the_responses_there(centre, tmp_path):
    for channel in ("HHZ", "HHN"):
        download(asking(centre.url, station="AAA", channel=channel), tmp_path)
    inventory = obspy.read_inventory(str(tmp_path / "stations/XX.AAA.xml"))
    for channel in ("HHZ", "HHN"):
        assert inventory.get_response(f"XX.AAA..{channel}", START)


def test_gaps_and_short_traces_stay(centre, tmp_path):
    trace = centre.waveforms["BBB", "HHZ"]
    trace.trim(START, START + 30)
    assert download(asking(centre.url, station="BBB"), tmp_path).new == 1
    np.testing.assert_array_equal(waveforms_in(tmp_path)[0].data, trace.data)


@pytest.mark.parametrize("fault", ["500", "drop", "truncate", "garbage"])
def test_one_station_fails_and_is_fetched_later(centre, tmp_path, fault):
    centre.faults["BBB"] = fault
    summary = download(asking(centre.url), tmp_path)
    assert (summary.new, summary.stations) == (6, ("XX.AAA",))
    assert list(summary.failures) == ["XX.BBB"]
    assert summary.missing["XX.BBB..HHZ"][:2] == (3, 3)
    assert not any("BBB" in name for name in names_in(tmp_path))
    centre.faults.clear()
    centre.asked.clear()
    summary = download(asking(centre.url), tmp_path)
    assert (summary.new, summary.existing) == (3, 6)
    assert not summary.failures
    assert {line.split()[1] for line in centre.asked} == {"BBB"}


def test_no_data(centre, tmp_path):
    centre.faults["BBB"] = "204"
    summary = download(asking(centre.url), tmp_path)
    assert summary.missing == {"XX.BBB..HHZ": (3, 3, "no data")}
    assert not summary.failures
    for changes, reason in (({"station": "BBB"}, "no data"), ({"station": "Q*"}, "no station")):
        with pytest.raises(DataError, match=rf"^XX\..* from 2020.* nothing .*: {reason}"):
            download(asking(centre.url, **changes), tmp_path)
    centre.faults["list"] = "500"
    with pytest.raises(DataError, match="stations can't be listed: .*; run the same command"):
        download(asking(centre.url), tmp_path)


def test_centres_that_are_not_there(centre, tmp_path):
    url = "http://127.0.0.1:65000"
    with pytest.raises(DataError, match=f"^provider {url} can't be reached"):
        download(asking(url), tmp_path)
    summary = download(asking(url, centre.url), tmp_path)
    assert summary.new == N_FILES
    assert list(summary.failures) == [url]
    with pytest.raises(SettingsError, match="--provider NOWHERE is not known; allowed: a URL"):
        download(asking("NOWHERE"), tmp_path)


@pytest.mark.parametrize("fault", ["no response", "half response"])
def test_waveforms_without_response_stay_and_are_named(centre, tmp_path, fault):
    centre.faults["BBB"] = fault
    summary = download(asking(centre.url), tmp_path)
    assert summary.new == N_FILES
    assert summary.without_response == ("XX.BBB",)
    assert summary.failures["XX.BBB"].startswith("no StationXML: ")
    assert ("cut short" in summary.failures["XX.BBB"]) is (fault == "half response")
    assert not (tmp_path / "stations/XX.BBB.xml").exists()
    centre.faults.clear()
    assert not download(asking(centre.url), tmp_path).without_response
    assert (tmp_path / "stations/XX.BBB.xml").exists()


@pytest.mark.parametrize(
    ("text", "wanted"), [("token = SECRET-1", "Bearer SECRET-1"),
                         ("user = me\npassword = SECRET-2", 'Digest username="me"')],
)  # fmt: skip
def test_restricted_data_need_credentials(centre, tmp_path, logged, text, wanted):
    centre.wanted, path = wanted, tmp_path / "my.ini"
    folder = tmp_path / "out"
    with pytest.raises(DataError, match=r"nothing was downloaded .*; give --credentials"):
        download(asking(centre.url), folder)
    path.write_text(f"[{centre.url}]\n{text}\n[GFZ]\ntoken=x\n")
    request = asking(centre.url, credentials=read_credentials(path))
    assert download(request, folder).new == N_FILES
    assert logged("my.ini: other users can read it")
    assert logged("credentials for GFZ are not used")
    everything = [*logged(""), repr(request), str(request)]
    everything += [path.read_bytes().decode("latin-1") for path in folder.rglob("*.*")]
    assert not any("SECRET" in text for text in everything)


def test_an_eida_token_is_passed_on(centre, tmp_path, monkeypatch):
    seen, path = [], tmp_path / "my.ini"
    path.write_text(f"[{centre.url}]\neida_token = ~/.eidatoken\n")
    request, method = asking(centre.url, credentials=read_credentials(path)), "set_eida_token"
    with pytest.raises(DataError, match="can't be reached: EIDA token authentication requested"):
        download(request, tmp_path)
    monkeypatch.setattr(f"obspy.clients.fdsn.Client.{method}", lambda _, x: seen.append(x))
    download(request, tmp_path)
    assert seen == [os.path.expanduser("~/.eidatoken")]
    monkeypatch.setattr(f"obspy.clients.fdsn.Client.{method}", lambda _, x: int(x))
    with pytest.raises(SettingsError, match="needs an EIDA token that is a PGP message") as caught:
        download(request, tmp_path)
    assert "eidatoken" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["SECRET", "[GFZ]\nSECRET", "[GFZ]\nuser = SECRET", "[GFZ]\nkey = SECRET", "user = SECRET"],
)
def test_messages_about_credentials_do_not_have_them(centre, tmp_path, text):
    (tmp_path / "my.ini").write_text(text)
    with pytest.raises(SettingsError, match="my.ini: .*; allowed: sections as") as caught:
        read_credentials(tmp_path / "my.ini")
    assert "SECRET" not in str(caught.value)
    with pytest.raises(SettingsError, match="--provider has a name or password") as caught:
        download(asking("https://me:SECRET@host"), tmp_path)
    assert "SECRET" not in str(caught.value)


def test_stations_near_another_are_left_out(centre, tmp_path, logged):
    request = asking(centre.url, min_distance=11.0)  # 0.1 degrees are 11.1 km
    assert download(request, tmp_path / "far").stations == ("XX.AAA", "XX.BBB")
    request = asking(centre.url, min_distance=11.2)
    assert download(request, tmp_path / "near").stations == ("XX.AAA",)
    assert logged("1 station within 11.2 km of another left out")


def test_folder_that_is_not_writable(centre, tmp_path):
    (tmp_path / "XX").write_text("a file where a folder is needed")
    with pytest.raises(RunError, match="can't be written"):
        download(asking(centre.url), tmp_path)


def test_a_signal_leaves_what_is_complete(centre, tmp_path, monkeypatch):
    monkeypatch.setattr("RISCluster.waveforms.download.THREADS", 1)

    def stop_at_fourth():
        if centre.requests["waveforms"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    centre.before_answer = stop_at_fourth
    with pytest.raises(Stopped, match="4 new files are complete") as stopped:
        download(asking(centre.url), tmp_path)
    assert stopped.value.exit_code == 143
    assert len([name for name in names_in(tmp_path) if name.endswith(".mseed")]) == 4
    centre.before_answer = lambda: None
    assert download(asking(centre.url), tmp_path).new == N_FILES - 4


def test_damaged_stationxml_is_replaced(centre, tmp_path):
    download(asking(centre.url, station="BBB"), tmp_path)
    stations = tmp_path / "stations/XX.BBB.xml"
    content = stations.read_bytes()
    stations.write_bytes(content[:300])
    download(asking(centre.url, station="BBB"), tmp_path)
    assert len(stations.read_bytes()) == len(content)


def test_records_of_several_lengths(tmp_path):
    content = b""
    for start, length in ((0, 512), (300, 4096)):
        trace, part = trace_of("AAA", "HHZ", 300), io.BytesIO()
        trace.stats.starttime += start
        trace.write(part, format="MSEED", reclen=length)
        content += part.getvalue()
    for n, is_whole in ((0, True), (128, False)):
        answer = io.BytesIO()
        answer.write(content[: len(content) - n])
        assert _is_whole(answer) is is_whole
