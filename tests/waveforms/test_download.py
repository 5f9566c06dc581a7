import os

import numpy as np
import pytest

from RISCluster.data.storage import find_files
from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms.download import download, obspy, read_credentials
from tests.waveforms.fdsn_server import START

N_FILES = 9  # three channels, an hour in three files


def fetch(folder, *urls, min_distance=0.0, credentials=None, **changes):
    """Numbers of new, existing and missing files, failures, and the table of files."""
    query = dict.fromkeys(("station", "location"), "*") | {"network": "XX", "channel": "HH?"}
    query |= {"starttime": START, "endtime": START + 3600} | changes
    files, failures = download(query, urls, folder, 1200.0, min_distance, credentials)
    size = files["n_bytes"]
    return [(size > 0).sum(), (size < 0).sum(), (size == 0).sum()], failures, files


def test_every_sample_and_response_arrives(centre, tmp_path):
    assert fetch(tmp_path, centre.url)[:2] == ([N_FILES, 0, 0], {})
    for (station, channel), trace in centre.waveforms.items():
        (got,) = obspy.read(f"{tmp_path}/XX/{station}/*{channel}*.mseed").merge(method=-1)
        assert got.stats.starttime == START
        np.testing.assert_array_equal(got.data, trace.data)
    assert (tmp_path / "XX/AAA/XX.AAA..HHN__20200101T002000Z__20200101T004000Z.mseed").exists()
    assert len(find_files([str(tmp_path)])) == N_FILES
    # Again: no waveforms and no responses are asked for.
    centre.asked.clear()
    assert fetch(tmp_path, centre.url)[0] == [0, N_FILES, 0]
    assert centre.asked == ["list"]


def test_a_longer_span_and_other_channels_ask_for_what_is_new(centre, tmp_path):
    assert fetch(tmp_path, centre.url, channel="HHN", endtime=START + 2400)[0] == [2, 0, 0]
    assert fetch(tmp_path, centre.url, channel="HHZ", endtime=START + 2400)[0] == [4, 0, 0]
    stations = obspy.read_inventory(str(tmp_path / "stations/XX.AAA.xml"))
    assert stations.get_contents()["channels"] == ["XX.AAA..HHN", "XX.AAA..HHZ"]
    centre.asked.clear()
    assert fetch(tmp_path, centre.url)[0] == [3, 6, 0]
    assert {x.split()[4] for x in centre.asked if " " in x} == {"2020-01-01T00:40:00.000000"}
    # Files begin at multiples of their length.
    files = fetch(tmp_path / "late", centre.url, station="BBB", starttime=START + 600)[2]
    spans = [path.name.split("__")[1] for path in files["path"]]
    assert spans == ["20200101T001000Z", "20200101T002000Z", "20200101T004000Z"]


@pytest.mark.parametrize(("fault", "n_missing", "reason"), [
    ("500", 3, "Service responds: Internal"), ("drop", 3, ""), ("204", 3, None),
    ("truncate", 3, "the answer of "), ("garbage", 3, "the answer of "),
    ("no response", 0, "no StationXML: "), ("half response", 0, "no StationXML: "),
])  # fmt: skip
def test_one_station_fails_and_is_fetched_later(centre, tmp_path, fault, n_missing, reason):
    centre.faults["BBB"], n_there = fault, N_FILES - n_missing
    n, failures, files = fetch(tmp_path, centre.url)
    assert (n, [*failures]) == ([n_there, 0, n_missing], [] if reason is None else ["XX.BBB"])
    assert failures.get("XX.BBB", "").startswith(reason or "")
    assert [*files[files["n_bytes"] == 0]["channel"]] == ["XX.BBB..HHZ"] * n_missing
    assert len([*tmp_path.rglob("*BBB*.*")]) == 3 - n_missing  # no StationXML
    centre.faults.clear()
    assert fetch(tmp_path, centre.url)[:2] == ([n_missing, n_there, 0], {})
    assert (tmp_path / "stations/XX.BBB.xml").exists()


def test_centres_that_are_not_there(centre, tmp_path):
    url = "http://127.0.0.1:65000"
    with pytest.raises(DataError, match=f"nothing was downloaded .{centre.url}: no data"):
        fetch(tmp_path, centre.url, station="Q*")
    n, failures, _ = fetch(tmp_path, url, centre.url)
    assert (n[0], list(failures)) == (N_FILES, [url])
    for provider, name in (("NOWHERE", "NOWHERE"), ("https://me:SECRET@host", "host")):
        with pytest.raises(SettingsError, match=f"--provider {name} is not known.* allowed: a URL"):
            fetch(tmp_path, provider)


LOGINS = {"token = SECRET": "Bearer SECRET", "user = me\npassword = SECRET": 'Digest username="me"'}


@pytest.mark.parametrize(("text", "wanted"), LOGINS.items())
def test_restricted_data_need_credentials(centre, tmp_path, logged, text, wanted):
    centre.wanted, path = wanted, tmp_path / "my.ini"
    with pytest.raises(DataError, match=r"nothing was downloaded .*: Unauthorized"):
        fetch(tmp_path / "out", centre.url)
    path.write_text(f"[{centre.url}]\n{text}\n[GFZ]\ntoken=x\n")
    n, _, files = fetch(tmp_path / "out", centre.url, credentials=read_credentials(path))
    assert n[0] == N_FILES
    assert not any("SECRET" in text for text in (*logged(""), files.to_string()))


def test_credentials_are_passed_on_and_in_no_message(centre, tmp_path, monkeypatch):
    seen, path = [], tmp_path / "my.ini"
    path.write_text(f"[{centre.url}]\neida_token = ~/.eidatoken\n")
    login, method = read_credentials(path), "obspy.clients.fdsn.Client.set_eida_token"
    monkeypatch.setattr(method, lambda _, token: seen.append(token))
    fetch(tmp_path, centre.url, credentials=login)
    assert seen == [os.path.expanduser("~/.eidatoken")]
    monkeypatch.setattr(method, lambda _, token: int(token))
    with pytest.raises(SettingsError, match="eida_token in --credentials is no PGP mes") as caught:
        fetch(tmp_path, centre.url, credentials=login)
    assert "eidatoken" not in str(caught.value)
    for text in ("[GFZ]\nuser = SECRET", "[GFZ]\nSECRET=="):
        path.write_text(text)
        with pytest.raises(SettingsError, match=r"my.ini: keys of \[GFZ\]; allowed") as caught:
            read_credentials(path)
        assert "SECRET" not in str(caught.value)


def test_stations_near_another_are_left_out(centre, tmp_path, logged):
    for limit, names in ((11.0, {"XX.AAA", "XX.BBB"}), (11.2, {"XX.AAA"})):
        files = fetch(tmp_path / f"{limit}", centre.url, min_distance=limit)[2]
        assert {*files["station"]} == names  # 0.1 degrees are 11.1 km
    assert logged("1 station within 11.2 km of another left out")
