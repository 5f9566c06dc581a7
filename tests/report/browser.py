"""Chromium without a window, driven over its DevTools pipe: no clock of its own, no port."""

import json
import os
import select
import shutil
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

WORDS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
LONGEST_WAIT = 120  # s for an answer


class Browser:
    """A page in Chromium."""

    def __init__(self, folder: Path):
        command = [shutil.which("chromium"), *WORDS, f"--user-data-dir={folder}"]
        (its_input, commands), (answers, its_output) = os.pipe(), os.pipe()
        # Chromium reads commands from its file 3 and writes answers to 4
        redirect = f'exec 3<&{its_input} 4>&{its_output} && exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "chromium", *command], pass_fds=(its_input, its_output),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(its_input)
        os.close(its_output)
        self.commands, self.answers = os.fdopen(commands, "wb"), os.fdopen(answers, "rb")
        self.numbers, self.rest, self.session, self.events = count(1), b"", {}, []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        found = self("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": found["sessionId"]}
        self("Page.enable")

    def close(self) -> None:
        self.session = {}
        self("Browser.close")
        self.process.wait()
        self.commands.close()
        self.answers.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready = select.select([self.answers], [], [], LONGEST_WAIT)[0]
            if not ready or not (part := os.read(self.answers.fileno(), 2**20)):
                raise RuntimeError("Chromium does not answer, or has ended")
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def __call__(self, method: str, **values: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": values, **self.session}
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while (answer := self._next()).get("id") != number:
            self.events.append(answer.get("method"))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, page: Path, width: int = 1400, height: int = 3000) -> None:
        """Open a file, and wait until it is loaded and its script has drawn."""
        size = {"width": width, "height": height, "mobile": False, "deviceScaleFactor": 1}
        self("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in self.events:
            self.events.append(self._next().get("method"))
        self.wait()

    def wait(self) -> None:
        """Wait until what was asked for is drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """The value of a script, also of a promise."""
        found = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description"))
        return found["result"].get("value")

    def mouse(self, kind: str, view: int, place: str) -> None:
        """Move, press or release the mouse at a place, a script, of a view of samples."""
        self.run(f"views[{view}].over.scrollIntoView({{ block: 'center' }})")
        left, top = (self.run(f"views[{view}].over.getBoundingClientRect().{x}") for x in "xy")
        x, y = self.run(place.replace("view.", f"views[{view}]."))
        at = {"x": left + x, "y": top + y, "button": "left", "clickCount": 1}
        self("Input.dispatchMouseEvent", type=f"mouse{kind}", **at)
        self.wait()

    def drag(self, view: int, start: str, stop: str) -> None:
        for kind, place in (("Pressed", start), ("Moved", stop), ("Released", stop)):
            self.mouse(kind, view, place)

    def click(self, selector: str, number: int = 0) -> None:
        self.run(f"all('{selector}')[{number}].click()")

    def set(self, selector: str, value: Any, event: str, number: int = 0) -> None:
        """Set the value of an element, as by the keyboard."""
        element = f"all('{selector}')[{number}]"
        self.run(f"{element}.value = {json.dumps(value)}")
        self.run(f"{element}.dispatchEvent(new Event('{event}'))")
