"""The page as a file, and driven in a browser where there is one."""

import base64
import hashlib
import re
import shutil
import subprocess

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
from tests.report.browser import Browser
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
    return render(
        data, title=text, sections=[section], technical=[section], footer=text, made_from=[text]
    )


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


@pytest.fixture
def page(run_folder, tmp_path, monkeypatch):
    """A page of a run with waveforms and without static figures, and the run's folder."""
    shutil.which("chromium") or pytest.skip("no Chromium")
    monkeypatch.setattr(make_report, "image_of", one_pixel)
    with open_run(run_folder) as run:
        data = run.file.path
    copy = shutil.copy(data, tmp_path / "traces.h5")
    with h5py.File(copy, "a") as file:
        file["trace"] = np.random.default_rng(0).normal(size=(96, 300)).astype("f4")
        file["trace"].attrs["sampling_rate"] = 100.0
    out = tmp_path / "page.html"
    return write_report(run_folder, [f"data.file={copy}"], out), run_folder


def test_a_plain_screenshot_shows_the_samples(page, tmp_path):
    picture = tmp_path / "page.png"
    program, size = shutil.which("chromium"), "--window-size=1400,3000"
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    command = [program, *words, size, f"--screenshot={picture}", page[0].as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    yellow = np.abs(imread(picture)[..., :3] - np.array([253, 231, 37]) / 255).max(-1) < 0.02
    assert yellow.sum() > 100  # the brightest colour of spectrograms


def test_the_page_answers(page, tmp_path):
    path, folder = page
    with Browser(path, tmp_path) as browser:
        value = browser.value
        on = "on.reduce((a, b) => a + b, 0)"
        assert value(on) == 95
        value("byId('map').scrollIntoView()")
        # Hover and click
        box = "byId('latents').getBoundingClientRect()"
        x, y = value(f"[views[0].at(40)[0] + {box}.left, views[0].at(40)[1] + {box}.top]")
        browser.mouse("Moved", x, y)
        value("new Promise((r) => setTimeout(r, 100))")
        assert value("!tip.hidden && tip.querySelectorAll('canvas').length === 1")
        assert "cluster " in value("tip.textContent")
        browser.click(x, y)
        assert value("viewer.open && open >= 0")
        assert value("byId('play').textContent") == "Play, 176 times faster"
        assert value("document.querySelectorAll('#stand canvas').length") == 2
        value("byId('play').click()")
        # Relabel and mark a sample
        sample = value("P.index[open]")
        value("(byId('relabel').value = (P.label[open] + 1) % 3, byId('relabel').onchange())")
        value("(byId('mark').value = 'odd, \"new\"', byId('mark').onchange())")
        label = value("P.label[open]")
        # The time line has the sample in the row of its new cluster
        row = "Math.floor(views[1].y[open] * 3)"
        assert value(row) == label
        value("byId('close').click()")
        # A box in the time line selects in the map and on the cards
        left, top, right, bottom = value(
            "(() => { const b = byId('times').getBoundingClientRect();"
            "return [b.left + 60, b.top + 2, b.left + b.width / 2, b.bottom - 22]; })()"
        )
        browser.drag([(left, top), (left + 50, top + 50), (right, bottom)])
        selected = value(on)
        assert 0 < selected < 95
        assert value("byId('state').textContent") == f"{selected} of 95 samples"
        assert "selected" in value("document.querySelector('.card .count').textContent")
        value("byId('clear').click()")
        # Clusters and stations
        value("document.querySelectorAll('.chip')[1].click()")
        assert value(on) == value("P.label.filter((k) => k === 1).length")
        assert value("document.querySelectorAll('.card:not([data-off])').length") == 1
        value("byId('clear').click()")
        value("(byId('station').value = 2, byId('station').onchange({target: {value: 2}}))")
        assert value(on) == value("P.station.filter((s) => s === 2).length")
        assert value("document.querySelectorAll('tr[data-s]:not([data-off])').length") == 1
        value("byId('clear').click()")
        # Names: equal ones are one cluster
        name = "(k, text) => { const e = document.querySelectorAll('input.name')[k];"
        name = f"({name} e.value = text; e.oninput(); }})"
        value(f"{name}(0, 'ice, quake'); {name}(2, 'ice, quake')")
        assert value("document.querySelectorAll('.chip:not([data-off])').length") == 2
        value("document.querySelectorAll('.chip')[0].click()")
        assert value("document.querySelectorAll('.card:not([data-off])').length") == 2
        value("byId('save-names').click(), byId('save-corrections').click()")
        value("new Promise((r) => setTimeout(r, 500))")
        assert not browser.errors
    for saved in ("names.csv", "corrections.csv"):
        shutil.copy(tmp_path / saved, folder / saved)
    with open_run(folder) as run:
        assert read_names(run) == {0: "ice, quake", 2: "ice, quake"}
        assert run.final.labels[sample] == label
        assert run.final.corrections.loc[sample, "mark"] == 'odd, "new"'
        assert not run.notes
