"""Pages and single sections read back from their HTML."""

from html.parser import HTMLParser

from PIL import Image

from RISCluster.report.figures import figures_of
from RISCluster.report.make_report import SECTIONS, TECHNICAL, environment
from RISCluster.report.results import Results

PIXEL = {"source": "data:image/png;base64,", "width": 1, "height": 1}
MAKE = {anchor: make for anchor, _, make in (*SECTIONS, *TECHNICAL)}
VOID = ("meta", "img", "br", "link", "input")


def one_pixel(*_) -> Image.Image:
    """A figure that costs nothing."""
    return Image.new("RGB", (1, 1))


class Elements(HTMLParser):
    """Start tags with their attributes; that all are closed; texts, notes, tables, facts."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.open, self.texts, self.notes = [], [], [], []
        self.tables, self.facts = [], []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "p":
            self.in_note = dict(attributes).get("class") == "note"
            self.notes += [""] if self.in_note else []
        elif tag == "table":
            self.tables.append({"title": "", "rows": []})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
        elif tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")
        elif tag == "dl":
            self.facts.append({})

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "caption" in self.open[-1:]:
            self.tables[-1]["title"] += data
        elif "td" in self.open or "th" in self.open:
            self.tables[-1]["rows"][-1][-1] += data
        elif "dt" in self.open:
            self.name = data
        elif "dd" in self.open:
            self.facts[-1][self.name] = data
        elif "p" in self.open and self.in_note:
            self.notes[-1] += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def table(self, title):
        """Rows of the table whose title has these words; the first one is the header."""
        return next(table["rows"] for table in self.tables if title in table["title"])


class Section(Elements):
    """A section of a run as in the page, with the matplotlib figures that it shows."""

    def __init__(self, anchor, run):
        results, self.figures = Results(run), {}
        common = {"results": results, "run": run, "file": run.file, "final": run.final}
        values = MAKE[anchor](results) if MAKE[anchor] else None
        self.context = common | {"notes": [], "anchor": anchor} | (values or {})

        def picture(name):
            if (figure := figures_of(results)[name](results)) is not None:
                self.figures[name] = figure
            return figure and PIXEL

        template = environment().get_template("sections.html")
        super().__init__(template.render(self.context, picture=picture))
        self.notes = self.context["notes"] + self.notes
