import re
import shutil
import sys

import pytest

from RISCluster.__main__ import main
from RISCluster.errors import MissingPackage, RunError, SettingsError
from RISCluster.evaluation.comparison import DOUBTFUL
from RISCluster.report import make_report as report
from RISCluster.report.make_report import write_report
from RISCluster.report.page import made_from
from RISCluster.run_folder import StageFolder
from RISCluster.settings import load_settings
from RISCluster.stages.refine import run_dec
from tests.report.html import Elements


def anchors(html: str) -> list[str]:
    return [section["id"] for section in Elements(html).of("section")]


def fine(results):
    return {"notes": ["fine"], "html": ""}


@pytest.fixture
def few_sections(monkeypatch):
    """A report of few sections, for tests of what is about them."""

    def set_to(*sections):
        monkeypatch.setattr(report, "SECTIONS", sections)

    set_to(("run", "Run", "", fine))
    return set_to


def test_whole_report(drawn_report):
    html = (drawn_report / "report.html").read_text(encoding="utf-8")
    found, names = Elements(html), anchors(html)
    assert names[:2] == ["run", "training"]
    assert names[-1] == "citing"
    assert len(names) == len(set(names))
    assert "could not be drawn" not in html
    assert "Left out:" not in html
    texts = " ".join(found.texts)
    assert texts.count("oubtful") == texts.count("oubtful label") == 2, "one meaning"
    assert f"posterior probability below {DOUBTFUL:g}" in texts
    saved = {path.name for path in (drawn_report / "figures").iterdir()}
    assert {"AEC_loss.png", "AEC_reconstructions.png", "DEC_embedding.png"} <= saved
    assert len(saved) == len(found.of("img")) > 15
    assert [a for a in found.of("button") if a.get("class") == "chip"]


def test_a_section_that_fails_becomes_a_note(run_folder, few_sections, caplog):
    def fails(results):
        raise KeyError("<i>lost</i>")

    nothing = ("none", "None", "", lambda results: None)
    few_sections(("run", "Run", "", fine), nothing, ("truth", "Known classes", "", fails))
    html = write_report(run_folder).read_text(encoding="utf-8")
    assert anchors(html) == ["run", "truth"]
    assert "Left out: KeyError: '<i>lost</i>'" in "".join(Elements(html).texts)
    assert "Known classes is left out: KeyError" in caplog.text


def test_names_of_clusters_are_on_the_chips(run_folder, few_sections):
    write_report(run_folder)
    table = run_folder / "names.csv"
    header, first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([header, f"{first}<b>ice</b>", *rest]))
    html = write_report(run_folder).read_text(encoding="utf-8")
    assert "0 <b>ice</b>" in Elements(html).texts
    assert "<b>ice" not in html


@pytest.mark.parametrize(
    ("stages", "words", "text"),
    [
        (["DEC"], [], "there is no DEC stage"),
        (["DEC", "GMM"], [], "there is no DEC stage"),
        ([], ["data.file=nowhere.h5"], "what needs them is left out: nowhere.h5"),
    ],
)
def test_some_stages_only_or_no_data(run_folder, stages, words, text, monkeypatch):
    monkeypatch.setattr(report, "png_of", lambda *_: b"\x89PNG" + bytes(20))
    for stage in stages:
        shutil.rmtree(run_folder / stage)
    html = write_report(run_folder, words).read_text(encoding="utf-8")
    assert text in html
    assert "Left out:" not in html
    assert "could not be drawn" not in html
    assert anchors(html)[:2] == ["run", "training"]


# ---- never one made from less ----


@pytest.fixture
def with_page(run_folder, few_sections):
    """A run with its page, in which a cluster has a name; and what is not to change."""
    write_report(run_folder)
    table = run_folder / "names.csv"
    header, first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([header, f"{first}ice", *rest]))

    def content():
        names = ("report.html", "names*", "figures/*")
        return {path: path.read_bytes() for name in names for path in run_folder.glob(name)}

    return run_folder, content


def begin_anew(run_folder, stage):
    StageFolder(run_folder, stage).begin({"something": "else"}, "[run]\n")


@pytest.mark.parametrize("stage", ["AEC", "GMM", "DEC"])
def test_a_page_of_more_is_not_replaced(with_page, tmp_path, capsys, stage):
    run_folder, content = with_page
    begin_anew(run_folder, stage)
    before = content()
    if stage == "AEC":  # nothing is left to report
        with pytest.raises(RunError, match="holds no complete stage of a run"):
            write_report(run_folder)
        return
    assert main(["report", "--run", str(run_folder)]) == 2
    said = capsys.readouterr().err
    lacking = "DEC" if stage == "DEC" else "GMM and DEC"
    assert (
        f"is made from AEC, GMM, DEC, data, and is not replaced by a page without {lacking}" in said
    )
    assert f"the {stage} stage is unfinished; run " in said
    assert "with -o other.html" in said
    assert content() == before
    other = tmp_path / "other.html"
    assert main(["report", "--run", str(run_folder), "-o", str(other)]) == 0
    assert anchors(other.read_text(encoding="utf-8")) == ["run"]
    assert content() == before
    assert f"drawing the report of {run_folder}" in capsys.readouterr().out


def test_a_page_is_not_replaced_by_one_without_the_data(with_page):
    run_folder, content = with_page
    before = content()
    with pytest.raises(RunError, match=r"without data \(the data can't be read.*nowhere\.h5"):
        write_report(run_folder, ["data.file=nowhere.h5"])
    assert content() == before


def test_a_page_that_does_not_say_what_it_shows_counts_as_whole(with_page):
    run_folder, _ = with_page
    page = run_folder / "report.html"
    page.write_text("<html></html>")
    write_report(run_folder)
    assert "<h1>" in page.read_text(encoding="utf-8")
    begin_anew(run_folder, "DEC")
    page.write_text("<html></html>")
    with pytest.raises(RunError, match="is not replaced by a page without DEC"):
        write_report(run_folder)


def test_a_page_of_less_is_replaced(run_folder, few_sections):
    (run_folder / "DEC").rename(run_folder / "away")
    page = write_report(run_folder)
    assert made_from(page) == {"AEC", "GMM", "data"}
    (run_folder / "away").rename(run_folder / "DEC")
    write_report(run_folder)
    assert made_from(page) == {"AEC", "GMM", "DEC", "data"}


def test_a_package_that_the_map_needs_is_asked_for_first(run_folder, few_sections, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    words = ["report", "--run", str(run_folder), "report.embedding=umap"]
    assert main(words) == 2
    assert not (run_folder / "report.html").exists()
    assert write_report(run_folder, words[-1:]).exists()  # at the end of a stage: the page without


def test_bad_words_and_folders(run_folder, tmp_path):
    with pytest.raises(RunError, match="no such run folder"):
        write_report(tmp_path / "none")
    with pytest.raises(SettingsError, match="no key 'colour'"):
        write_report(run_folder, ["report.colour=red"])


def test_a_page_that_cannot_be_written_leaves_the_old(run_folder, few_sections):
    (run_folder / "report.html").mkdir()
    with pytest.raises(RunError, match=re.escape("report.html: can't be written")):
        write_report(run_folder)


# ---- at the end of a run ----


@pytest.fixture
def settings_of_run(made_run):
    words = (f"run.folder={made_run.parent}", "run.name=test")
    return lambda *more: load_settings(made_run / "DEC/config.ini", (*words, *more))


def refine(run_folder, settings_of_run, *words):
    shutil.rmtree(run_folder / "DEC")
    where = (f"run.folder={run_folder.parent}", f"run.name={run_folder.name}")
    run_dec(settings_of_run(*where, *words))


def test_the_last_stage_makes_it_if_wanted(run_folder, settings_of_run, few_sections):
    refine(run_folder, settings_of_run, "run.figures=no")
    assert not (run_folder / "report.html").exists()


def test_a_sweep_makes_it_once(run_folder, settings_of_run, few_sections, monkeypatch):
    made = []
    monkeypatch.setattr(report, "write_report", made.append)
    refine(run_folder, settings_of_run, "run.figures=yes", "dec.lr=0.001,0.01")
    assert made == [run_folder]


def test_the_stage_asks_for_a_package_before_it_begins(run_folder, settings_of_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingPackage, match="pip install openTSNE, .*the extra 'embedding'"):
        refine(run_folder, settings_of_run, "run.figures=yes", "report.embedding=opentsne")
    assert not (run_folder / "DEC").exists()


def test_what_goes_wrong_spoils_no_run(run_folder, settings_of_run, monkeypatch, capsys):
    def fails(folder):
        raise OSError("disk full")

    monkeypatch.setattr(report, "write_report", fails)
    refine(run_folder, settings_of_run, "run.figures=yes")
    assert "the report could not be made: OSError: disk full" in capsys.readouterr().out
    assert (run_folder / "DEC/metrics.json").exists()
