"""The page as a file, and driven in a browser where there is one."""

import base64
import hashlib
import io
import re
import shutil
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from RISCluster.report import make_report
from RISCluster.report.make_report import environment, render, shown, write_report
from RISCluster.runs.run import open_run
from tests.report.browser import Browser
from tests.report.html import PIXEL, Elements, one_pixel

HOSTILE = (
    "<script>alert(1)</script>", '"><img onerror=alert(2) src=x>', "</script><b>bold</b>",
    "</style><i>", "' onclick='alert(3)", "javascript:alert(4)//10.1000/<u>",
)  # fmt: skip
BLOCKS = """{% from "sections.html" import data_table, figure, note with context %}
<p>{{ text }}</p>{{ note(text) }}
{% call figure("pixel") %}{{ text }}{% endcall %}
{% call data_table(t, text) %}{{ text }}{% endcall %}"""


def page_with(text: str) -> str:
    """A page of one section with all kinds of blocks."""
    table = {"header": (text, text), "rows": [(text, 1), (None, text)], "clusters": [0, 1]}
    blocks = environment().from_string(BLOCKS)
    html = blocks.render(text=text, picture={"pixel": PIXEL}.get, t=table)
    section = {"anchor": "data", "title": text, "notes": [text], "html": Markup(html)}
    clusters = [{"name": text, "colour": "#0072b2"}] * 2
    data = {"clusters": clusters, "stations": [text, text], "place": "station"}
    run = SimpleNamespace(folder=Path(text.replace("/", "-")), stages=[text])
    return render(SimpleNamespace(data=data, run=run), text, [section], [section])


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_escaped(text):
    innocent, found = Elements(page_with("x")), Elements(page_with(text))
    inside, expected = ([(x.tag, *x.attrib) for x in y.root.iter()] for y in (found, innocent))
    assert inside == expected
    assert text in "".join(found.root.itertext())  # and is shown as it is


def test_nothing_is_loaded_and_only_this_script_and_style_count():
    html = page_with("text")
    found = Elements(html)
    for element in found.root.iter():
        assert element.tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not [name for name in element.attrib if name.startswith("on") or name == "style"]
        assert element.get("src", "data:").startswith("data:")
        assert element.get("href", "#").startswith("#")
    assert "url(" not in html.split("<script>")[0]
    policy = next(meta["content"] for meta in found.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("script", "style"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize(("value", "text"), [
    (None, "–"), (float("nan"), "–"), (np.datetime64("NaT"), "–"), (1234567, "1,234,567"),
    (np.int64(-5), "−5"), (0.5, "0.5000"), (np.float32(0.25), "0.2500"), (123.456, "123.5"),
    (999.96, "1000"), (9999.96, "10,000"), (np.float32(1234567.8), "1,234,568"),
    (0.00001234, "1.234e−05"), (float("-inf"), "−inf"), (True, "yes"), ("a < b", "a < b"),
])  # fmt: skip
def test_values(value, text):
    assert shown(value) == text


def test_table():
    rows = [("x", 90, 10, 3), ("y", 0, 0, 0)]
    table = {"header": ("", "all", "a", "b"), "rows": rows, "shades": 2, "clusters": [2, None]}
    macro = '{% from "sections.html" import data_table %}{{ data_table(t, "title") }}'
    found = Elements(environment().from_string(macro).render(t=table))
    assert [row.get("data-c") for row in found.of("tr")] == [None, "2", None]
    assert found.table("title")[1] == ["x", "90", "10", "3"]
    kinds = [cell.get("class") for cell in found.of("td")]
    assert kinds == [None, "n", "n h10", "n h3", None, "n", "n", "n"]


@pytest.fixture(scope="module")
def page(made_run, with_traces, tmp_path_factory):
    """A page of a run with waveforms and without static figures, and a copy of the run."""
    folder = tmp_path_factory.mktemp("page")
    run_folder = shutil.copytree(made_run, folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_report, "image_of", one_pixel)
        write_report(run_folder, [f"data.file={with_traces}"], folder / "page.html")
    return folder / "page.html", run_folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    shutil.which("chromium") or pytest.skip("no Chromium")
    with closing(Browser(tmp_path_factory.mktemp("user"))) as made:
        yield made


@pytest.mark.parametrize(("theme", "paper"), [("light", 252), ("dark", 20)])
def test_the_page_as_it_is_opened(page, browser, theme, paper):
    media = [{"name": "prefers-color-scheme", "value": theme}]
    browser("Emulation.setEmulatedMedia", features=media)
    browser.open(page[0], width=390)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.open(page[0])
    data = browser("Page.captureScreenshot", format="png")["data"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), int)
    assert picture[5, 5, 0] == paper
    yellow = np.abs(picture - np.array([253, 231, 37])).max(-1) < 5
    assert yellow.sum() > 100  # the brightest colour of spectrograms
    folded = "all('#technical h3').map((e) => e.checkVisibility())"
    assert browser.run(folded) == 5 * [False]
    browser("Emulation.setEmulatedMedia", media="print")
    assert browser.run(folded) == 5 * [True]
    browser("Emulation.setEmulatedMedia", media="")


TOTAL = "on.reduce((a, b) => a + b, 0)"
REMARK = "getComputedStyle(all('.card dl')[0], '::before').content"


@pytest.fixture
def driver(page, browser, tmp_path):
    browser("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
    browser.open(page[0], height=900)
    return browser


def test_samples_answer_the_mouse(driver):
    driver.mouse("Moved", 0, "view.at(40)")
    assert driver.run("[tip.hidden, tip.textContent.slice(0, 8)]") == [False, "cluster "]
    driver.drag(0, "view.at(40)", "view.at(40)")
    assert driver.run("[viewer.open, byId('play').textContent]") == [True, "Play, 176 times faster"]
    driver.click("#play")
    driver.click("#close")
    driver.drag(1, "[60, 2]", "[view.width / 2, view.height - 22]")
    assert 0 < driver.run(TOTAL) < 95
    assert driver.run("byId('state').textContent") == f"{driver.run(TOTAL)} of 95 samples"


def test_clusters_and_stations_are_chosen(driver):
    assert driver.run("all('.card .sample').length") == 18
    assert driver.run(REMARK) == "none"
    driver.click(".chip", 1)
    assert driver.run(TOTAL) == driver.run("P.label.filter((k) => k === 1).length")
    assert driver.run("all('.card:not([data-off])').length") == 1
    driver.click("#clear")
    driver.set("#station", 2, "change")
    assert driver.run(TOTAL) == driver.run("P.station.filter((s) => s === 2).length")
    assert driver.run("all('tr[data-s]:not([data-off])').length") == 1
    found, n = (f"P.label.filter((k, i) => k === 1 && {x}).length" for x in ("on[i]", "true"))
    text = f"`${{{found}}} of ${{{n}}} selected, stations: 1`"
    assert driver.run("all('.count')[1].textContent") == driver.run(text)
    shown = "all('.sample').filter((e) => e.checkVisibility()).map((e) => P.station[e.dataset.i])"
    assert set(driver.run(shown)) == {2}
    assert "Of all samples" in driver.run(REMARK)
    driver.click("#clear")
    driver.drag(0, "view.at(40).map((x) => x - 3)", "view.at(40).map((x) => x + 3)")
    found = driver.run("new Set(P.label.filter((_, i) => on[i])).size")
    assert driver.run("all('.card:not([data-off])').length") == found
    assert 0 < found < 3


def test_names_and_corrections_are_saved(page, driver, tmp_path):
    driver.drag(0, "view.at(40)", "view.at(40)")
    label = (driver.run("P.label[open]") + 1) % 3
    driver.set("#relabel", label, "change")
    driver.set("#mark", 'odd, "new"', "change")
    sample, found, row = driver.run("[P.index[open], P.label[open], 3 * views[1].y[open]]")
    assert found == int(row) == label  # in the time line
    driver.click("#close")
    for cluster in (0, 2):
        driver.set("input.name", "ice, quake", "input", cluster)
    assert driver.run("all('.chip:not([data-off])').length") == 2
    driver.click(".chip")
    assert driver.run("all('.card:not([data-off])').length") == 2
    leave = "dispatchEvent(new Event('beforeunload', { cancelable: true }))"  # false: it warns
    for name in ("names", "corrections"):
        assert driver.run(leave) is False
        driver.click(f"#save-{name}")
        saved, end = tmp_path / f"saved/{name}.csv", time.monotonic() + 60
        while not saved.exists() and time.monotonic() < end:
            time.sleep(0.05)
        shutil.copy(saved, page[1])
    assert driver.run(leave) is True
    with open_run(page[1]) as run:
        assert run.names == {0: "ice, quake", 2: "ice, quake"}
        assert run.final.labels[sample] == label
        assert run.final.corrections.loc[sample, "mark"] == 'odd, "new"'
        assert not run.notes
