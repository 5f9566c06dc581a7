"""A small FDSN data centre on this machine, with synthetic data and faults on demand."""

import io
import threading
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from RISCluster.waveforms.download import fdsn, obspy

UTCDateTime, made = obspy.UTCDateTime, obspy.core.inventory
START, BUILT = UTCDateTime(2020, 1, 1), UTCDateTime(2019, 1, 1)
WADL = """<application xmlns="http://wadl.dev.java.net/2009/02"><resources base="{}"><method
name="GET" id="query"><request>{}</request></method></resources></application>"""


def inventory_of(codes):
    """Inventory of stations and their channels."""
    options, stations = {"sample_rate": 10.0, "start_date": BUILT}, []
    for number, (station, channels) in enumerate(codes.items()):
        where = -80.0 + 0.1 * number, 170.0, 0.0
        own = [made.Channel(name, "", *where, 0.0, **options) for name in channels]
        stations.append(made.Station(station, *where, channels=own, start_date=BUILT))
    return obspy.Inventory([made.Network("XX", stations=stations)], source="test")


class Centre(ThreadingHTTPServer):
    """Stations with an hour of waveforms; `faults` says how a station's requests fail."""

    daemon_threads = True

    def __init__(self, codes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.waveforms = {}  # an hour at 10 Hz
        for station, channel in ((s, c) for s in codes for c in codes[s]):
            data = np.random.default_rng(len(self.waveforms)).integers(-500, 500, 36_000, np.int32)
            trace = obspy.Trace(data, {"sampling_rate": 10.0, "starttime": START})
            trace.id, self.waveforms[station, channel] = f"XX.{station}..{channel}", trace
        self.faults = {}  # station: "500", "drop", "truncate", "204" and so on
        self.asked = []  # lines of requests for waveforms, and "list" or "responses"
        self.wanted = ""  # part of the header Authorization of requests for waveforms
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *words):
        self.shutdown()
        super().__exit__(*words)

    def dataselect(self, line):
        """Status, content, and whether to break off in its midst."""
        self.asked.append(line)
        _, station, _, channel, start, end = line.split()
        fault, out = self.faults.get(station), io.BytesIO()
        part = self.waveforms[station, channel].slice(UTCDateTime(start), UTCDateTime(end))
        if fault != "204" and part.stats.npts > 1:
            part.write(out, format="MSEED", reclen=512)
        content = out.getvalue()
        answers = {
            "500": (500, b"no"), "garbage": (200, b"<html>try later</html>" * 40),
            "truncate": (200, content[: len(content) // 2 + 100]),  # the protocol does not see it
        }  # fmt: skip
        return answers.get(fault) or (200 if content else 204, content, fault == "drop")

    def stations(self, query):
        """Status and content for a request of stations."""
        is_list, codes = query["level"] == "channel", {}
        self.asked.append("list" if is_list else "responses")
        for station, channel in self.waveforms:
            wanted = (station, query["station"]), (channel, query.get("channel", "*"))
            if all(any(fnmatchcase(x, y) for y in words.split(",")) for x, words in wanted):
                codes.setdefault(station, []).append(channel)
        fault, out, text = self.faults.get(query["station"]), io.BytesIO(), io.StringIO()
        if not codes or fault == "no response":
            return 204, b""
        if is_list:
            inventory_of(codes).write(text, format="STATIONTXT", level="channel")
            return 200, text.getvalue().encode()
        inventory_of(codes).write(out, format="STATIONXML")
        content = out.getvalue()
        return 200, content[: len(content) // 2] if fault == "half response" else content


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, content, broken=False, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if broken else content)

    def do_GET(self):
        path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
        _, _, service, _, what = path.split("/")
        if what == "query":
            self.answer(*self.server.stations(query))
        else:
            names = fdsn.DEFAULT_PARAMETERS[service] + fdsn.OPTIONAL_PARAMETERS[service]
            params = "".join(f'<param name="{name}" style="query"/>' for name in names)
            self.answer(200, WADL.format(service, params).encode())

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        (line,) = [line for line in text.splitlines() if "=" not in line and line.strip()]
        if self.server.wanted in self.headers.get("Authorization", ""):
            self.answer(*self.server.dataselect(line))
        else:
            asks = {"WWW-Authenticate": 'Digest realm="a", nonce="b", qop="auth"'}
            self.answer(401, b"", **asks)
