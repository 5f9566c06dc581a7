"""A page driven in headless Chromium by its DevTools protocol over a pipe."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

WORDS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--mute-audio")
LIMIT = 30  # seconds for a page to draw itself


class Browser:
    """An open page; ``with Browser(page, folder) as b: b.value("document.title")``."""

    def __init__(self, page: Path, folder: Path, width: int = 1400, height: int = 900):
        program = shutil.which("chromium") or pytest.skip("no Chromium")
        self.number, self.errors = 0, []
        inward, self.write = os.pipe()
        self.read, outward = os.pipe()

        def pipes():
            """Chromium reads from 3 and writes to 4."""
            high = os.dup(inward), os.dup(outward)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        command = [program, *WORDS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, preexec_fn=pipes, close_fds=False, **quiet)
        os.close(inward)
        os.close(outward)
        self.rest, self.session = b"", None
        targets = self("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        found = self("Target.attachToTarget", targetId=target, flatten=True)
        self.session = found["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self("Emulation.setDeviceMetricsOverride", **size)
        self("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self("Runtime.enable")
        self("Page.enable")
        self("Page.navigate", url=page.as_uri())
        end = time.monotonic() + LIMIT
        while not self.value("document.querySelector('html.ready') !== null"):
            if time.monotonic() > end:
                self.__exit__()
                pytest.fail(f"{page} is not ready after {LIMIT} s: {self.errors}")
            time.sleep(0.05)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.write)
        os.close(self.read)

    def __call__(self, method: str, **words) -> dict:
        """Send a command and wait for its answer; faults of the page's script are collected."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": words}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                self.rest += os.read(self.read, 2**20)
            text, _, self.rest = self.rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(answer["params"]["exceptionDetails"]))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression: str):
        """Value of an expression, waited for if it is a promise."""
        words = {"awaitPromise": True, "returnByValue": True}
        found = self("Runtime.evaluate", expression=expression, **words)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **words) -> None:
        """A mouse event at a point of the window: Moved, Pressed or Released."""
        self("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **words)

    def click(self, x: float, y: float) -> None:
        self.drag([(x, y)])

    def drag(self, points) -> None:
        """Press at the first point, move, and release at the last."""
        words = {"button": "left", "buttons": 1, "clickCount": 1}
        self.mouse("Moved", *points[0])
        self.mouse("Pressed", *points[0], **words)
        for point in points[1:]:
            self.mouse("Moved", *point, **words)
        self.mouse("Released", *points[-1], **words)
