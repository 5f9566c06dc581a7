"""The page as a file, and driven in a browser where there is one."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from markupsafe import Markup
from matplotlib.image import imread

from RISCluster.report import make_report
from RISCluster.report.make_report import write_report
from RISCluster.report.page import environment, render, shown
from RISCluster.runs.names import read_names
from RISCluster.runs.run import open_run
from tests.report.html import PIXEL, Elements, one_pixel

HOSTILE = (
    "<script>alert(1)</script>", '"><img onerror=alert(2) src=x>', "</script><b>bold</b>",
    "</style><i>", "' onclick='alert(3)", "javascript:alert(4)//10.1000/<u>",
)  # fmt: skip
BLOCKS = """{% from "macros.html" import data_table, figure, note, sample %}
<p>{{ text }}</p>{{ note(text) }}{{ figure({"fault": text}) }}
{{ sample({"row": 0, "sample": 1, "time": text, "station": text, "probability": 1.0}) }}
{% call figure(pixel) %}{{ text }}{% endcall %}
{% call data_table(t, text) %}{{ text }}{% endcall %}"""


def page_with(text: str) -> str:
    """A page of one section with all kinds of blocks."""
    table = {"header": (text, text), "rows": [(text, 1), (None, text)], "clusters": [0, 1]}
    html = environment().from_string(BLOCKS).render(text=text, pixel=PIXEL, t=table)
    section = {"anchor": "data", "title": text, "notes": [text], "html": Markup(html)}
    clusters = [{"name": text, "colour": "#0072b2"}] * 2
    data = {"clusters": clusters, "stations": [text, text], "place": "station"}
    run = SimpleNamespace(folder=Path(text.replace("/", "-")), stages=[text])
    return render(data, run, text, [section], [section])


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_escaped(text):
    innocent, found = Elements(page_with("x")), Elements(page_with(text))
    inside = lambda elements: {(tag, name) for tag, a in elements.tags for name in a}  # noqa: E731
    assert inside(found) - inside(innocent) <= {("a", "rel"), ("a", "href")}
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in innocent.tags} | {"a"}
    assert len(found.of("script")) == 2
    assert text in "".join(found.texts)  # and is shown as it is
    for link in found.of("a"):
        assert re.fullmatch(r"#[\w-]+|https://doi\.org/10\.[\w./()-]+", link["href"])


def test_nothing_is_loaded_and_only_this_script_and_style_count():
    html = page_with("see doi 10.1029/2021JB021716.")
    found = Elements(html)
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:").startswith("data:")
    assert "url(" not in html.split("<script>")[0]
    [policy] = [
        meta["content"] for meta in found.of("meta") if "default" in meta.get("content", "")
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("script", "style"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    link = {"href": "https://doi.org/10.1029/2021JB021716", "rel": "noopener noreferrer"}
    assert link in found.of("a")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (np.datetime64("NaT"), "–"), (1234567, "1,234,567"),
        (np.int64(-5), "−5"), (0.5, "0.5000"), (np.float32(0.25), "0.2500"), (123.456, "123.5"),
        (999.96, "1000"), (9999.96, "10,000"), (np.float32(1234567.8), "1,234,568"),
        (0.00001234, "1.234e−05"), (float("-inf"), "−inf"), (True, "yes"), ("a < b", "a < b"),
    ],
)  # fmt: skip
def test_values(value, text):
    assert shown(value) == text


def test_table():
    table = {"header": ("", "all", "a", "b"), "rows": [("x", 90, 10, 3), ("y", 0, 0, None)]}
    macro = '{% from "macros.html" import data_table %}{{ data_table(t, "title") }}'
    write = environment().from_string(macro).render
    found = Elements(write(t=table | {"clusters": [2, None]}))
    assert [row.get("data-c") for row in found.of("tr")] == [None, "2", None]
    assert found.table("title")[2] == ["y", "0", "0", "–"]
    rows = [("x", 90, 10, 3), ("y", 0, 0, 0)]
    found = Elements(write(t=table | {"shades": 2, "rows": rows}))
    kinds = [cell.get("class") for cell in found.of("td")]
    assert kinds == [None, "n", "n h10", "n h3", None, "n", "n", "n"]


# ---- in a browser ----

CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000")


@pytest.fixture
def page(run_folder, tmp_path, monkeypatch):
    """A page of a run with waveforms and without static figures, and the run's folder."""
    shutil.which("chromium") or pytest.skip("no Chromium")
    monkeypatch.setattr(make_report, "image_of", one_pixel)
    with open_run(run_folder) as run:
        copy = shutil.copy(run.file.path, tmp_path / "traces.h5")
    with h5py.File(copy, "a") as file:
        file["trace"] = np.random.default_rng(0).normal(size=(96, 300)).astype("f4")
        file["trace"].attrs["sampling_rate"] = 100.0
    return write_report(run_folder, [f"data.file={copy}"], tmp_path / "page.html"), run_folder


def chromium(page, tmp_path, *words) -> str:
    """What Chromium prints for a page."""
    folder = f"--user-data-dir={tmp_path / 'user'}"
    command = [shutil.which("chromium"), *CHROMIUM, folder, *words, page.as_uri()]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return answer.stdout


def test_a_plain_screenshot_shows_the_samples(page, tmp_path):
    picture = tmp_path / "page.png"
    chromium(page[0], tmp_path, "--window-size=1400,3000", f"--screenshot={picture}")
    yellow = np.abs(imread(picture)[..., :3] - np.array([253, 231, 37]) / 255).max(-1) < 0.02
    assert yellow.sum() > 100  # the brightest colour of spectrograms


# Each line gives a value that the test compares; pointers are at places of a view.
ACTIONS = """
const found = {}, saved = [], total = () => on.reduce((a, b) => a + b, 0);
const wait = () => new Promise((done) => setTimeout(done, 200));
const set = (e, value, event) => { e.value = value; e[event]({ target: e }); };
Element.prototype.setPointerCapture = () => {};
URL.createObjectURL = (blob) => { saved.push(blob.text()); return "javascript:void 0"; };
async function point(view, kind, [x, y]) {
  const { left, top } = view.over.getBoundingClientRect(), at = { clientX: left + x, clientY: top + y };
  view.over.dispatchEvent(new PointerEvent(`pointer${kind}`, at));
  await wait();
}
async function drag(view, from, to) {
  await point(view, "down", from);
  await point(view, "move", to);
  await point(view, "up", to);
}
addEventListener("load", async () => {
  found.all = total();
  await point(views[0], "move", views[0].at(40));
  found.tip = [tip.hidden, tip.textContent.slice(0, 8), all("canvas", tip).length];
  await drag(views[0], views[0].at(40), views[0].at(40));
  found.viewer = [viewer.open, byId("play").textContent, all("#stand canvas").length];
  byId("play").click();
  set(byId("relabel"), (P.label[open] + 1) % 3, "onchange");
  set(byId("mark"), 'odd, "new"', "onchange");
  found.sample = [P.index[open], P.label[open], Math.floor(views[1].y[open] * 3)];
  byId("close").click();
  await drag(views[1], [60, 2], [views[1].width / 2, views[1].height - 22]);
  found.box = [total(), byId("state").textContent, all(".count")[0].textContent];
  byId("clear").click();
  all(".chip")[1].click();
  found.chip = [total() - P.label.filter((k) => k === 1).length, all(".card:not([data-off])").length];
  byId("clear").click();
  set(byId("station"), 2, "onchange");
  found.station = [total() - P.station.filter((s) => s === 2).length, all("tr[data-s]:not([data-off])").length];
  byId("clear").click();
  [0, 2].forEach((k) => set(all("input.name")[k], "ice, quake", "oninput"));
  found.merged = [all(".chip:not([data-off])").length];
  all(".chip")[0].click();
  found.merged.push(all(".card:not([data-off])").length);
  all("th")[1].click();
  byId("save-names").click();
  byId("save-corrections").click();
  found.saved = await Promise.all(saved);
  document.body.replaceChildren(make("pre", { id: "found" }, JSON.stringify(found)));
});
"""  # noqa: E501


def test_the_page_answers(page, tmp_path):
    path, folder = page
    driven = re.sub("<meta http-equiv=[^>]*>", "", path.read_text(encoding="utf-8"))
    path.write_text(driven.replace("</body>", f"<script>{ACTIONS}</script></body>"))
    text = re.search('<pre id="found">(.*?)</pre>', chromium(path, tmp_path, "--dump-dom"), re.S)
    found = json.loads(unescape(text[1]))
    assert found["all"] == 95
    assert found["tip"] == [False, "cluster ", 1]
    assert found["viewer"] == [True, "Play, 176 times faster", 2]
    sample, label, row = found["sample"]
    assert row == label  # in the time line
    selected, state, count = found["box"]
    assert 0 < selected < 95
    assert state == f"{selected} of 95 samples"
    assert "selected" in count
    assert found["chip"] == found["station"] == [0, 1]
    assert found["merged"] == [2, 2]
    for name, content in zip(("names.csv", "corrections.csv"), found["saved"], strict=True):
        (folder / name).write_text(content)
    with open_run(folder) as run:
        assert read_names(run) == {0: "ice, quake", 2: "ice, quake"}
        assert run.final.labels[sample] == label
        assert run.final.corrections.loc[sample, "mark"] == 'odd, "new"'
        assert not run.notes
