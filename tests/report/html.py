"""Pages and single sections read back from their HTML."""

from html.parser import HTMLParser
from xml.etree.ElementTree import TreeBuilder

from PIL import Image

from RISCluster.plots.figures import figures_of
from RISCluster.plots.results import Results
from RISCluster.report.make_report import SECTIONS, TECHNICAL, environment

PIXEL = {"source": "data:image/png;base64,", "width": 1, "height": 1}
MAKE = {anchor: make for anchor, _, make in (*SECTIONS, *TECHNICAL)}
VOID = ("meta", "img", "br", "link", "input")


def one_pixel(*_) -> Image.Image:
    """A figure that costs nothing."""
    return Image.new("RGB", (1, 1))


class Elements(HTMLParser):
    """The tree of a page whose tags are all closed, and its notes, tables and lists of facts."""

    def __init__(self, html: str):
        super().__init__()
        self.builder, self.open = TreeBuilder(), []
        self.builder.start("page", {})
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"
        self.builder.end("page")
        self.root = self.builder.close()
        self.text = " ".join(" ".join(self.root.itertext()).split())
        self.notes = [p.text for p in self.root.iter("p") if p.get("class") == "note"]
        self.facts = [{name.text: fact.text for name, fact in x} for x in self.root.iter("dl")]
        self.tables = {
            table.findtext("caption"): [[cell.text for cell in row] for row in table.iter("tr")]
            for table in self.root.iter("table")
        }

    def handle_starttag(self, tag, attributes):
        self.builder.start(tag, dict(attributes))
        self.open.append(tag)
        if tag in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.builder.end(tag)

    def handle_data(self, data):
        self.builder.data(data)

    def of(self, tag):
        return [element.attrib for element in self.root.iter(tag)]

    def table(self, title):
        """Rows of the table whose title has these words; the first one is the header."""
        return next(rows for name, rows in self.tables.items() if title in name)


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
