"""A small FDSN data centre on this machine, with synthetic data and faults on demand."""

import io
import threading
from collections import Counter
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from obspy import Inventory, UTCDateTime

START = UTCDateTime(2020, 1, 1)
WADL = """<?xml version="1.0"?>
<application xmlns="http://wadl.dev.java.net/2009/02"><resources base="http://x/fdsnws/{service}/1">
<resource path="/"><resource path="query"><method name="GET" id="query"><request>{params}</request>
</method></resource></resource></resources></application>"""
PARAMS = {
    "dataselect": "starttime endtime network station location channel",
    "station": "starttime endtime network station location channel minlatitude maxlatitude "
    "minlongitude maxlongitude latitude longitude minradius maxradius level format",
}


def trace_of(station, channel, seconds, rate=10.0):
    from obspy import Trace

    seed = sum(map(ord, station + channel))
    data = np.random.default_rng(seed).integers(-500, 500, int(seconds * rate)).astype(np.int32)
    header = {
        "network": "XX", "station": station, "channel": channel,
        "starttime": START, "sampling_rate": rate,
    }  # fmt: skip
    return Trace(data, header)


def inventory_of(codes):
    """Inventory of stations and their channels, each with a response of gain 2."""
    from obspy.core.inventory import Channel, InstrumentSensitivity, Network, Response, Station

    where = {"latitude": -80.0, "longitude": 170.0, "elevation": 0.0}
    network = Network("XX", stations=[])
    for station, channels in codes.items():
        site = Station(station, creation_date=UTCDateTime(2019, 1, 1), channels=[], **where)
        for name in channels:
            gain = InstrumentSensitivity(2.0, 1.0, "M/S", "COUNTS")
            site.channels.append(
                Channel(
                    name,
                    "",
                    depth=0.0,
                    sample_rate=10.0,
                    start_date=UTCDateTime(2019, 1, 1),
                    response=Response(instrument_sensitivity=gain),
                    **where,
                )  # fmt: skip
            )
        site.start_date = UTCDateTime(2019, 1, 1)
        network.stations.append(site)
    return Inventory([network], source="test")


class Centre:
    """Stations with an hour of waveforms; `faults` says how a station's requests fail."""

    def __init__(self, codes, seconds=3600):
        self.codes = codes
        self.waveforms = {
            (s, c): trace_of(s, c, seconds) for s, channels in codes.items() for c in channels
        }
        self.faults = {}  # station: "500", "drop", "truncate", "204"; "*" for all
        self.requests = Counter()
        self.asked = []  # lines of dataselect requests
        self.before_answer = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        poll = {"poll_interval": 0.01}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=poll)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def dataselect(self, lines):
        """Status, content, and whether to break off in its midst."""
        self.asked.extend(lines)
        faults = {self.faults.get("*")} | {self.faults.get(line.split()[1]) for line in lines}
        out = io.BytesIO()
        for line in lines:
            _, station, _, channel, start, end = line.split()
            if self.faults.get(station) == "204" or (station, channel) not in self.waveforms:
                continue
            part = self.waveforms[station, channel].slice(UTCDateTime(start), UTCDateTime(end))
            if part.stats.npts > 1:
                part.write(out, format="MSEED", reclen=512)
        content = out.getvalue()
        if "500" in faults:
            return 500, b"no", False
        if "garbage" in faults:
            return 200, b"<html>try later</html>" * 40, False
        if "truncate" in faults:  # without an end that the protocol could miss
            return 200, content[: len(content) // 2 + 100], False
        return (200, content, "drop" in faults) if content else (204, b"", False)

    def stations(self, query):
        name, level = query.get("station", "*"), query["level"]
        codes = {
            s: [c for c in channels if matches(c, query.get("channel", "*"))]
            for s, channels in self.codes.items()
            if matches(s, name)
        }
        codes = {s: channels for s, channels in codes.items() if channels}
        if not codes or query.get("network") == "ZZ":
            return 204, b""
        out = io.BytesIO()
        if level == "channel":
            text = io.StringIO()
            inventory_of(codes).write(text, format="STATIONTXT", level="channel")
            out.write(text.getvalue().encode())
        else:
            inventory_of(codes).write(out, format="STATIONXML")
        return 200, out.getvalue()

    def _handler(centre):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, content, broken=False):
                self.send_response(status)
                if broken:
                    self.send_header("Content-Length", str(len(content)))
                    content = content[: len(content) // 2]
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                parts = urlsplit(self.path)
                service = parts.path.split("/")[2] if parts.path.count("/") > 2 else ""
                if parts.path.endswith("application.wadl") and service in PARAMS:
                    names = PARAMS[service].split()
                    params = "".join(f'<param name="{n}" style="query"/>' for n in names)
                    self.answer(200, WADL.format(service=service, params=params).encode())
                elif parts.path.endswith("query") and service == "station":
                    centre.requests["list"] += 1
                    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                    if centre.faults.get("list"):
                        self.answer(500, b"no")
                    else:
                        self.answer(*centre.stations(query))
                else:
                    self.answer(404, b"")

            def do_POST(self):
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                lines = [line for line in text.splitlines() if "=" not in line and line.strip()]
                if "dataselect" in self.path:
                    centre.requests["waveforms"] += 1
                    answer = centre.dataselect(lines)
                    if centre.before_answer:
                        centre.before_answer()
                    self.answer(*answer)
                    return
                centre.requests["responses"] += 1
                station = lines[0].split()[1]
                channels = ",".join(line.split()[3] for line in lines)
                if centre.faults.get(station) == "no response":
                    self.answer(204, b"")
                elif centre.faults.get(station) == "half response":
                    _, content = centre.stations({"station": station, "level": "response"})
                    self.answer(200, content[: len(content) // 2])
                else:
                    query = {"station": station, "channel": channels, "level": "response"}
                    self.answer(*centre.stations(query))

        return Handler


def matches(code, patterns):
    return any(fnmatchcase(code, pattern) for pattern in patterns.split(","))
