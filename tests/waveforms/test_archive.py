import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from RISCluster.errors import DataError, MissingPackage
from RISCluster.waveforms.archive import with_copies
from RISCluster.waveforms.build import build
from tests.waveforms.waves import MIDNIGHT, noise, rows, settings, with_events, write

RATE = 50.0


@pytest.fixture
def folder(tmp_path):
    """A folder of day files as in a public archive."""
    (tmp_path / "data/2016/001").mkdir(parents=True)
    for station in ("AAA", "BBB"):
        data = with_events(noise(120, RATE), RATE, (30, 60, 90))
        path = tmp_path / f"data/2016/001/{station}.HHZ.2016.001"
        write(path, (f"XX.{station}..HHZ", MIDNIGHT, RATE, data))
    (tmp_path / "data/2016/001/readme.txt").write_text("x")
    return tmp_path / "data"


@pytest.fixture
def memory(folder):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(folder), "/bucket", recursive=True)
    yield store
    store.rm("/bucket", recursive=True)


def test_files_are_copied_once_and_built_from(memory, tmp_path, logged):
    words, target = ["memory://bucket/2016", "x.mseed"], tmp_path / "copies"
    found = with_copies(words, target)
    assert [path.rpartition("/")[2] for path in found] == [
        "AAA.HHZ.2016.001", "BBB.HHZ.2016.001", "x.mseed",
    ]  # fmt: skip
    assert build(found[:2], tmp_path / "set.h5", settings())["samples"] == 6
    assert len(rows(tmp_path / "set.csv")) == 6
    (target / "bucket/2016/001/AAA.HHZ.2016.001").write_bytes(b"cut off")
    assert with_copies(["memory://bucket/2016/*/*HHZ*"], target) == found[:2]
    assert logged("2 files, 1 to copy into")
    assert (target / "bucket/2016/001/AAA.HHZ.2016.001").stat().st_size > 10_000


def test_what_can_not_be_fetched(memory, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="memory://nowhere: .*give a folder, a file or a pattern"):
        with_copies(["memory://nowhere"], tmp_path)

    def fails(*_, **__):
        raise ValueError("no route")

    monkeypatch.setattr(type(memory), "get_file", fails)
    with pytest.raises(
        DataError, match=r"2 of 2 files can't be fetched .*ValueError no route.; run"
    ):
        with_copies(["memory://bucket"], tmp_path)
    assert not [path for path in tmp_path.rglob("*HHZ*") if "data" not in path.parts]
    with pytest.raises(DataError, match="ftpx://a: can't be listed: .*; check the address"):
        with_copies(["ftpx://a"], tmp_path)


def test_packages_that_are_missing(tmp_path, monkeypatch):
    for package, url in {"aiohttp": "https://host/a/", "s3fs": "s3://bucket/a"}.items():
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(MissingPackage, match=f"pip install {package}, .* the extra 'remote'"):
            with_copies([url], tmp_path)


def test_a_web_server(folder, tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/2016/"
        found = with_copies([url], tmp_path / "copies")
        assert [path.rpartition("/")[2][:3] for path in found] == ["AAA", "BBB"]
        assert with_copies([f"{url}001/B*"], tmp_path / "copies") == found[1:]
        assert sum("BBB" in path for path in asked) <= 2  # one is of its size
        server.shutdown()
    assert build(found, tmp_path / "set.h5", settings())["samples"] == 6
