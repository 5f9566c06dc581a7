"""The page: one file, nothing from elsewhere, every text escaped, readable and sorted right."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from RISCluster.report.asides import Folded, Listing
from RISCluster.report.blocks import Note, Picture, Section, Table, Text, Tiles
from RISCluster.report.page import Page, clusters_of, pictures_of
from RISCluster.report.pictures import Drawer
from RISCluster.report.tables import table_html
from RISCluster.report.values import duration_text, shown, time_text

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img onerror=alert(2) src=x>',
    "</script><b>bold</b>",
    "</style><i>",
    "' onclick='alert(3)",
    "javascript:alert(4)//10.1000/<u>",
)


class Elements(HTMLParser):
    """Every start tag with its attributes; that all are closed; and the text."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def draw() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    return figure


def blocks_with(text: str) -> list:
    return [
        Text(text),
        Note(text),
        Tiles([(text, text, text)]),
        Table(text, (text, text), [(text, 1), (None, text)], clusters=[0, 1], note=text),
        Picture("a", draw, text),
        Picture("b", draw, text, cluster=3),
        Listing(text, text),
        Folded(text, [Text(text)]),
    ]


def page(blocks, folder, names=None, title="run") -> str:
    sections = [Section("Data", "data", list(blocks)), Section("Empty", "empty")]
    return Page(title, "below", sections, Drawer(folder), names or {}, "end").html()


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_escaped(tmp_path, text):
    innocent = Elements(page(blocks_with("x"), tmp_path, {1: "x"}, "x"))
    sections = [Section(text, text, blocks_with(text))]
    html = Page(text, text, sections, Drawer(tmp_path), {0: text, 3: text}, text).html()
    found = Elements(html)
    inside = lambda elements: {(tag, name) for tag, a in elements.tags for name in a}  # noqa: E731
    assert inside(found) - inside(innocent) <= {("a", "rel")}
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in innocent.tags}
    assert len(found.of("script")) == len(found.of("style")) == 1
    body = html.split("</style>")[1].split("<script>")[0]
    if "<" in text:
        assert text not in body
    assert text in "".join(found.texts)  # and is read as it was
    for link in found.of("a"):
        assert re.fullmatch(r"#[\w-]+|https://doi\.org/10\.[\w./()-]+", link["href"])


def test_what_draws_and_fails_is_escaped_and_the_rest_is_drawn(tmp_path, caplog):
    def fail():
        raise ValueError("<script>alert(1)</script>")

    html = page([Picture("bad", fail, "c", cluster=2), Picture("good", draw, "c")], tmp_path)
    found = Elements(html)
    assert len(found.of("img")) == 1
    assert "bad could not be drawn: ValueError: <script>alert(1)</script>" in found.texts
    assert len(found.of("script")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["good.png"]


def test_nothing_is_loaded_and_only_this_script_and_style_count(tmp_path):
    html = page(blocks_with("see doi 10.1029/2021JB021716."), tmp_path)
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


def test_sections_links_and_ids(tmp_path):
    found = Elements(page(blocks_with("x"), tmp_path, {3: "icequakes"}))
    ids = [attributes["id"] for _, attributes in found.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in found.of("a") if a["href"].startswith("#")]
    assert set(targets) <= set(ids)
    assert [a["id"] for a in found.of("section")] == ["data", "empty"]
    assert found.texts.count("Data") == 2  # in the navigation and above the section
    chips = [a["data-c"] for a in found.of("button") if a.get("class") == "chip"]
    assert chips == ["0", "1", "3"]
    assert "3 icequakes" in found.texts
    html = page(blocks_with("x"), tmp_path)
    for colour in ('[data-c="0"]{--c:#0072b2}', '[data-c="3"]{--c:#d55e00}'):
        assert colour in html


def test_one_cluster_needs_no_filter(tmp_path):
    html = page([Picture("a", draw, "c", cluster=0)], tmp_path)
    assert 'class="chip' not in html.split("</style>")[1].split("<script>")[0]


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
    assert [duration_text(s) for s in (0.2, 61, 3600, 90061)] == [
        "under 1 s",
        "1 min 1 s",
        "1 h",
        "1 d 1 h",
    ]
    assert time_text(np.datetime64("2016-01-01")) == "2016-01-01 00:00:00"


def cells(html: str) -> list[dict]:
    return Elements(html).of("td")


def test_cells_carry_what_they_are_sorted_by():
    html = table_html(
        Table("t", ("n", "text"), [(1000, "b"), (None, "a"), (np.float64(0.1234567), None)])
    )
    assert [cell.get("data-v") for cell in cells(html)] == ["1000", None, "", None, "0.1234567", ""]
    assert [cell.get("class") for cell in cells(html)] == ["n", "w"] * 3


def test_shades_are_shares_of_the_largest_in_a_row():
    rows = [("x", 90, 10, 3), ("y", 0, 0, 0)]
    html = table_html(Table("t", ("", "all", "a", "b"), rows, shades=2))
    assert [cell["class"] for cell in cells(html)] == [
        "w",
        "n",
        "n h10",
        "n h3",
        "w",
        "n",
        "n",
        "n",
    ]


def test_rows_are_marked_by_cluster():
    html = table_html(Table("t", ("a",), [("x",), ("y",)], clusters=[2, None]))
    assert [row.get("data-c") for row in Elements(html).of("tr")] == [None, "2", None]


def test_ragged_tables_are_refused():
    with pytest.raises(ValueError, match="zip"):
        table_html(Table("t", ("a", "b"), [(1, 2), (1,)]))


def test_empty_tables():
    assert cells(table_html(Table("t", ("a", "b"), []))) == []


def test_pictures_are_saved_in_the_format_asked_for_and_embedded_as_png(tmp_path):
    for file_format, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        drawer = Drawer(tmp_path / file_format, file_format)
        image = drawer(Picture("a", draw, "c"))
        assert (image.width, image.height) == (240, 120)
        assert image.source.startswith("data:image/png;base64,iVBOR")
        assert [path.name for path in drawer.paths] == [f"a.{file_format}"]
        assert drawer.paths[0].read_bytes().startswith(start)


def test_names_of_files_are_safe_and_different(tmp_path):
    drawer = Drawer(tmp_path / "figures")
    for name in ("../../a b", "a", "a", ".."):
        drawer(Picture(name, draw, "c"))
    assert [path.name for path in drawer.paths] == [
        "_.._a_b.png",
        "a.png",
        "a_2.png",
        "picture.png",
    ]
    assert {path.parent for path in drawer.paths} == {tmp_path / "figures"}


def test_blocks_in_folds_count():
    inner = [Picture("a", draw, "c", cluster=4), Table("t", ("a",), [(1,)], clusters=[2])]
    blocks = [Folded("more", inner), Picture("b", draw, "c")]
    assert sorted(clusters_of(blocks)) == [2, 4]
    assert [picture.name for picture in pictures_of(blocks)] == ["a", "b"]


def test_what_is_no_block_is_refused(tmp_path):
    with pytest.raises(TypeError, match="str is not a block"):
        page(["text"], tmp_path)


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
    blocks = [
        Table("Small", ("n", "text"), [(3, "b"), (None, "c"), (20, "a")], clusters=[0, 1, None]),
        Table("Large", ("n", "text"), rows, clusters=[i % 2 for i in range(260)]),
        *(Picture(f"p{c}", draw, f"cluster {c}", cluster=c) for c in range(2)),
        Picture("all", draw, "all of them"),
        Text("a" * 400),
    ]
    path = Path(tmp_path / "report.html")
    path.write_text(page(blocks, tmp_path), encoding="utf-8")
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
