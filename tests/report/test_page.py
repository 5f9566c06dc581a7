"""The page: one file, nothing from elsewhere, every text escaped, readable and sorted right."""

import base64
import hashlib
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from markupsafe import Markup

from RISCluster.report.page import cells, duration_text, environment, render, shown, time_text
from tests.report.html import PIXEL, Elements

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img onerror=alert(2) src=x>',
    "</script><b>bold</b>",
    "</style><i>",
    "' onclick='alert(3)",
    "javascript:alert(4)//10.1000/<u>",
)
BLOCKS = """{% for text in texts %}<p>{{ text }}</p>{{ note(text) }}{{ listing(text, text) }}
{% call tiles() %}{{ tile(text, text, text) }}{% endcall %}
{% call folded(text) %}{{ text }}{% endcall %}
{% for f in figures %}{% call figure(f, f.cluster) %}{{ text }}{% endcall %}{% endfor %}
{% endfor %}
{% for t in tables %}{% call table(t, t.title) %}{{ t.title }}{% endcall %}{% endfor %}"""
FIGURES = [PIXEL | {"cluster": None}, PIXEL | {"cluster": 0}, PIXEL | {"cluster": 1}]


def page(text="x", figures=FIGURES, tables=(), names=None, n_clusters=3) -> str:
    """A page of one section with all kinds of blocks."""
    html = environment().from_string(BLOCKS).render(texts=[text], figures=figures, tables=tables)
    section = {"anchor": "data", "title": text, "notes": [text], "html": Markup(html)}
    return render(text, [section], n_clusters=n_clusters, names=names, footer=text)


def page_with(text: str) -> str:
    rows = [(text, 1), (None, text)]
    tables = [{"title": text, "header": (text, text), "rows": rows, "clusters": [0, 1]}]
    figures = [*FIGURES, {"fault": text, "cluster": 1}]
    return page(text, figures, tables, {1: text})


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_escaped(text):
    innocent, html = Elements(page_with("x")), page_with(text)
    found = Elements(html)
    inside = lambda elements: {(tag, name) for tag, a in elements.tags for name in a}  # noqa: E731
    assert inside(found) - inside(innocent) <= {("a", "rel")}
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in innocent.tags}
    assert len(found.of("script")) == len(found.of("style")) == 1
    body = html.split("</style>")[1].split("<script>")[0]
    assert "<" not in text or text not in body
    assert text in "".join(found.texts)  # and is shown as it is
    for link in found.of("a"):
        assert re.fullmatch(r"#[\w-]+|https://doi\.org/10\.[\w./()-]+", link["href"])


def test_nothing_is_loaded_and_only_this_script_and_style_count():
    html = page_with("see doi 10.1029/2021JB021716.")
    found = Elements(html)
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "srcset", "poster", "data"):
            assert attributes.get(name, "data:image/png;base64,").startswith("data:image/png;")
    assert "url(" not in html
    assert "@import" not in html
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


def test_links_ids_and_chips():
    html = page(names={2: "icequakes"})
    found = Elements(html)
    ids = [attributes["id"] for _, attributes in found.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in found.of("a") if a["href"].startswith("#")} <= set(ids)
    chips = [a["data-c"] for a in found.of("button") if a.get("class") == "chip"]
    assert chips == ["0", "1", "2"]
    assert "2 icequakes" in found.texts
    assert '[data-c="0"]{--c:#0072b2}' in html
    alone = page(n_clusters=1)
    assert 'class="chip' not in alone.split("</style>")[1].split("<script>")[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (np.datetime64("NaT"), "–"), (1234567, "1,234,567"),
        (np.int64(-5), "−5"), (0.0, "0"), (0.5, "0.5000"), (np.float32(0.25), "0.2500"),
        (123.456, "123.5"), (9999.96, "10,000"), (1234567.8, "1,234,568"),
        (0.00001234, "1.234×10⁻⁵"), (-2.5e12, "−2.500×10¹²"), (float("-inf"), "−∞"), (True, "yes"),
        (np.datetime64("2016-01-31T12:00:05.7"), "2016-01-31 12:00:05"), ("a < b", "a < b"),
    ],
)  # fmt: skip
def test_values(value, text):
    assert shown(value) == text


def test_digits_durations_and_times():
    assert shown(0.98765, 2) == "0.99"
    durations = [duration_text(np.timedelta64(int(1000 * s), "ms")) for s in (0.2, 61, 3600, 90061)]
    assert durations == ["under 1 s", "1 min 1 s", "1 h", "1 d 1 h"]
    assert time_text("2016-01-01T10:00:00Z") == "2016-01-01 10:00:00"


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


# ---- in a browser, where there is one ----

ACTIONS = r"""{
const found = [], say = (value) => found.push(value);
const shows = (selector) => all(selector).filter((e) => e.getClientRects().length).length;
const order = () => all("table.data")[0].querySelectorAll("tbody tr td:nth-child(2)");
const texts = () => [...order()].map((e) => e.textContent).join("");
const [head, other] = all("table.data th button"), chip = (k) => all(".chip[data-c]")[k].click();
head.click(); say(texts()); head.click(); say(texts()); other.click(); say(texts());
say(all("th").slice(0, 2).map((e) => e.ariaSort)); say(shows("tbody tr"));
all(".more")[0].click(); say(shows("tbody tr"));
chip(1); say([shows("figure"), shows("tbody tr"), byId("filter-state").textContent]);
byId("every").click(); say([shows("figure"), shows("tbody tr")]);
all(".picture button")[1].click(); say([viewer.open, byId("place").textContent]);
const right = new KeyboardEvent("keydown", { key: "ArrowRight" });
viewer.dispatchEvent(right); viewer.dispatchEvent(right);
say(byId("place").textContent); byId("close").click(); say(viewer.open);
const was = isDark(); byId("theme").click(); say(isDark() !== was);
say(all("nav a").map((e) => e.ariaCurrent));
document.body.dataset.found = JSON.stringify(found);
}"""


def dom_of(html, tmp_path) -> str:
    """The page after its scripts have run."""
    program = shutil.which("chromium") or pytest.skip("no Chromium")
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    words = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"--user-data-dir={tmp_path}",
    )
    command = [program, *words, (tmp_path / "report.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def test_browser(tmp_path):
    rows = [(i % 7, f"row {i}") for i in range(260)]
    small = {"rows": [(3, "b"), (None, "c"), (20, "a")], "clusters": [0, 1, None]}
    large = {"rows": rows, "clusters": [i % 2 for i in range(260)]}
    tables = [{"title": "t", "header": ("n", "text"), **one} for one in (small, large)]
    html = page(figures=FIGURES, tables=tables)
    assert '<html lang="en" class="js">' in dom_of(html, tmp_path)  # the policy allows the script
    html = re.sub(r"<meta http-equiv[^>]*>", "", html).replace("</script>", ACTIONS + "</script>")
    found = json.loads(Elements(dom_of(html, tmp_path)).of("body")[0]["data-found"])
    assert found[:6] == ["bac", "abc", "abc", [None, "ascending"], 53, 263]
    only = "Only 1; what is of all clusters stays"
    assert found[6:8] == [[2, 2 + 130, only], [3, 263]]
    assert found[8:] == [[True, "2 of 3"], "1 of 3", False, True, ["true"]]
