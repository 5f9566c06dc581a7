"""The page: one file, nothing from elsewhere, every text escaped, readable and sorted right."""

import base64
import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

from RISCluster.report.page import (
    Drawer,
    Picture,
    cells,
    duration_text,
    environment,
    render,
    shown,
    time_text,
)
from tests.report.html import Elements

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img onerror=alert(2) src=x>',
    "</script><b>bold</b>",
    "</style><i>",
    "' onclick='alert(3)",
    "javascript:alert(4)//10.1000/<u>",
)
BLOCKS = """{% from "macros.html" import table, figure, note, tiles, tile, folded, listing %}
{% for text in texts %}<p>{{ text }}</p>{{ note(text) }}{{ listing(text, text) }}
{% call tiles() %}{{ tile(text, text, text) }}{% endcall %}
{% call folded(text) %}{{ text }}{% endcall %}
{% for f in figures %}{% call figure(f) %}{{ text }}{% endcall %}{% endfor %}
{% endfor %}
{% for t in tables %}{% call table(t, t.title) %}{{ t.title }}{% endcall %}{% endfor %}"""


def draw() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    return figure


def fail() -> Figure:
    raise ValueError("<script>alert(1)</script>")


def page(folder, texts=(), pictures=None, tables=(), title="run", names=None, n_clusters=3) -> str:
    """A page of one section with all kinds of blocks."""
    drawer = Drawer(folder)
    figures = [drawer(name, picture) for name, picture in (pictures or {}).items()]
    html = environment().from_string(BLOCKS).render(texts=texts, figures=figures, tables=tables)
    sections = [{"anchor": "data", "title": title, "notes": texts, "html": Markup(html)}]
    return render(title, sections, n_clusters=n_clusters, names=names, footer=title)


def blocks_with(text: str) -> dict:
    rows = [(text, 1), (None, text)]
    return {
        "texts": [text],
        "pictures": {"a": Picture(draw), "b": Picture(draw, 2), "c": Picture(fail, 1)},
        "tables": [{"title": text, "header": (text, text), "rows": rows, "clusters": [0, 1]}],
        "title": text,
        "names": {1: text},
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_escaped(tmp_path, text):
    innocent = Elements(page(tmp_path, **blocks_with("x")))
    html = page(tmp_path, **blocks_with(text))
    found = Elements(html)
    inside = lambda elements: {(tag, name) for tag, a in elements.tags for name in a}  # noqa: E731
    assert inside(found) - inside(innocent) <= {("a", "rel")}
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in innocent.tags}
    assert len(found.of("script")) == len(found.of("style")) == 1
    body = html.split("</style>")[1].split("<script>")[0]
    if "<" in text:
        assert text not in body
    assert text in "".join(found.texts)  # and is shown as it is
    for link in found.of("a"):
        assert re.fullmatch(r"#[\w-]+|https://doi\.org/10\.[\w./()-]+", link["href"])


def test_a_figure_that_fails_becomes_a_note(tmp_path, caplog):
    html = page(tmp_path, ["c"], {"bad": Picture(fail, 2), "good": Picture(draw)})
    found = Elements(html)
    assert len(found.of("img")) == 1
    assert "bad could not be drawn: ValueError: <script>alert(1)</script>" in found.notes
    assert [path.name for path in tmp_path.iterdir()] == ["good.png"]


def test_nothing_is_loaded_and_only_this_script_and_style_count(tmp_path):
    html = page(tmp_path, **blocks_with("see doi 10.1029/2021JB021716."))
    found = Elements(html)
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "srcset", "poster", "data"):
            assert attributes.get(name, "data:image/png;base64,").startswith("data:image/png;")
    assert "url(" not in html
    assert "@import" not in html
    policy = next(
        meta["content"]
        for meta in found.of("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("script", "style"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert {"href": "https://doi.org/10.1029/2021JB021716", "rel": "noopener noreferrer"} in (
        found.of("a")
    )


def test_links_ids_and_chips(tmp_path):
    html = page(tmp_path, **(blocks_with("x") | {"names": {2: "icequakes"}}))
    found = Elements(html)
    ids = [attributes["id"] for _, attributes in found.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in found.of("a") if a["href"].startswith("#")]
    assert set(targets) <= set(ids)
    chips = [a["data-c"] for a in found.of("button") if a.get("class") == "chip"]
    assert chips == ["0", "1", "2"]
    assert "2 icequakes" in found.texts
    assert '[data-c="0"]{--c:#0072b2}' in html
    alone = page(tmp_path, n_clusters=1)
    assert 'class="chip' not in alone.split("</style>")[1].split("<script>")[0]


def test_numbers():
    for value, text in (
        (None, "–"),
        (float("nan"), "–"),
        (np.datetime64("NaT"), "–"),
        (1234567, "1,234,567"),
        (np.int64(-5), "−5"),
        (0.0, "0"),
        (0.5, "0.5000"),
        (np.float32(0.25), "0.2500"),
        (123.456, "123.5"),
        (9999.96, "10,000"),
        (1234567.8, "1,234,568"),
        (0.00001234, "1.234×10⁻⁵"),
        (-2.5e12, "−2.500×10¹²"),
        (float("-inf"), "−∞"),
        (True, "yes"),
        (np.datetime64("2016-01-31T12:00:05.7"), "2016-01-31 12:00:05"),
        ("a < b", "a < b"),
    ):
        assert shown(value) == text
    assert shown(0.98765, 2) == "0.99"
    durations = [duration_text(s) for s in (0.2, 61, 3600, 90061)]
    assert durations == ["under 1 s", "1 min 1 s", "1 h", "1 d 1 h"]
    assert time_text(np.datetime64("2016-01-01")) == "2016-01-01 00:00:00"


def test_cells_have_sort_keys_shades_and_clusters():
    rows = [(1000, "b"), (None, "a"), (np.float64(0.1234567), None)]
    found = cells({"header": ("n", "text"), "rows": rows, "clusters": [2, None, 0]})
    assert found["columns"] == [("n", True), ("text", False)]
    assert [cluster for cluster, _ in found["rows"]] == [2, None, 0]
    body = [cell for _, row in found["rows"] for cell in row]
    assert [key for _, key, _ in body] == ["1000", None, "", None, "0.1234567", ""]
    assert [kind for kind, _, _ in body] == ["n", "w"] * 3
    rows = [("x", 90, 10, 3), ("y", 0, 0, 0)]
    found = cells({"header": ("", "all", "a", "b"), "rows": rows, "shades": 2})
    kinds = [[kind for kind, _, _ in row] for _, row in found["rows"]]
    assert kinds == [["w", "n", "n h10", "n h3"], ["w", "n", "n", "n"]]
    assert cells({"header": ("a", "b"), "rows": []})["rows"] == []
    with pytest.raises(ValueError, match="zip"):
        cells({"header": ("a", "b"), "rows": [(1, 2), (1,)]})


def test_figures_are_saved_in_the_format_asked_for_and_embedded_as_png(tmp_path):
    for file_format, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        drawer = Drawer(tmp_path, file_format)
        image = drawer("a", Picture(draw))
        assert (image["width"], image["height"]) == (240, 120)
        assert image["source"].startswith("data:image/png;base64,iVBOR")
        assert (tmp_path / f"a.{file_format}").read_bytes().startswith(start)


# ---- in a browser, where there is one ----


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if not all(programs):
        pytest.skip("no Chromium with its driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    profile = tmp_path_factory.mktemp("profile")
    for word in (
        "headless", "window-size=1280,900", "no-sandbox", "disable-gpu", "disable-quic",
        "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    rows = [(i % 7, f"row {i}") for i in range(260)]
    small = {"rows": [(3, "b"), (None, "c"), (20, "a")], "clusters": [0, 1, None]}
    large = {"rows": rows, "clusters": [i % 2 for i in range(260)]}
    tables = [{"title": "t", "header": ("n", "text"), **one} for one in (small, large)]
    pictures = {"p0": Picture(draw, 0), "p1": Picture(draw, 1), "all": Picture(draw)}
    path = Path(tmp_path / "report.html")
    path.write_text(page(tmp_path, ["a" * 400], pictures, tables), encoding="utf-8")
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


SHOWN = "return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length)"


def count(driver, selector) -> int:
    return len(driver.execute_script(SHOWN, selector))


def test_browser_sorts_and_shows_all(opened):
    head, other = opened.find_elements("css selector", "table.data")[0].find_elements(
        "css selector", "th button"
    )
    first = "table.data:first-of-type tbody tr td:nth-child(2)"
    order = lambda: [e.text for e in opened.find_elements("css selector", first)[:3]]  # noqa: E731
    head.send_keys("\n")
    assert order() == ["b", "a", "c"]
    head.click()
    assert order() == ["a", "b", "c"]  # what is missing stays last
    other.click()
    assert order() == ["a", "b", "c"]
    sorts = opened.execute_script(
        "return [...document.querySelectorAll('th')].slice(0, 2).map(e => e.ariaSort)"
    )
    assert sorts == [None, "ascending"]
    assert count(opened, "tbody tr") == 3 + 50
    opened.find_element("css selector", ".more").click()
    assert count(opened, "tbody tr") == 3 + 260


def test_browser_filters_by_cluster(opened):
    assert count(opened, "figure") == 3
    chips = opened.find_elements("css selector", ".chip[data-c]")
    chips[1].click()
    assert count(opened, "figure") == 2  # cluster 1, and all of them
    assert count(opened, "tbody tr") == 2 + 50
    assert count(opened, 'tbody tr[data-c="0"]') == 0
    chips[0].click()
    assert count(opened, "figure") == 3
    opened.find_element("id", "every").click()
    assert count(opened, "tbody tr") == 3 + 50


def test_browser_enlarges_pictures(opened):
    viewer = opened.find_element("id", "viewer")
    place = lambda: opened.find_element("id", "place").text  # noqa: E731
    opened.find_elements("css selector", ".picture button")[1].send_keys("\n")
    assert viewer.is_displayed()
    assert place() == "2 of 3"
    opened.switch_to.active_element.send_keys("\ue014")  # arrow to the right
    assert place() == "3 of 3"
    opened.switch_to.active_element.send_keys("\ue014")
    assert place() == "1 of 3"
    opened.switch_to.active_element.send_keys("\ue00c")  # escape
    assert not viewer.is_displayed()


def test_browser_remembers_the_theme_and_fits_a_phone(opened):
    theme = "return document.documentElement.dataset.theme"
    opened.find_element("id", "theme").click()
    chosen = opened.execute_script(theme)
    assert chosen in ("light", "dark")
    opened.refresh()
    assert opened.execute_script(theme) == chosen
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert opened.execute_script("return document.documentElement.scrollWidth") == 360
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
