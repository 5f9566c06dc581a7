"""The page of a run: whole, of less, and at the end of a stage; its figures."""

import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from RISCluster.__main__ import main
from RISCluster.errors import MissingPackage, RunError, SettingsError
from RISCluster.io import open_rows
from RISCluster.report import figures
from RISCluster.report import make_report as report
from RISCluster.report.figures import INPUTS, Results, inputs_of, png_of
from RISCluster.report.make_report import write_report
from RISCluster.report.page import made_from
from RISCluster.run_folder import StageFolder
from RISCluster.runs.run import open_run
from RISCluster.settings import Settings, load_settings
from RISCluster.stages.refine import run_dec
from tests.report.html import Elements, one_pixel


def anchors(html: str) -> list[str]:
    return [section["id"] for section in Elements(html).of("section")]


def fine(results):
    results.data = {}
    return {"notes": ["fine"], "html": ""}


@pytest.fixture
def few_sections(monkeypatch):
    """A report of few sections, for tests of what is about them."""

    def set_to(*sections):
        monkeypatch.setattr(report, "SECTIONS", sections)
        monkeypatch.setattr(report, "TECHNICAL", ())

    set_to(("run", "Run", fine))
    return set_to


def test_whole_report(drawn_report):
    html = (drawn_report / "report.html").read_text(encoding="utf-8")
    found, names = Elements(html), anchors(html)
    assert names == [
        "overview", "clusters", "samples", "map", "stations", "time", "relations", "truth", "run",
        "training", "choice", "measures", "comparison", "citing",
    ]  # fmt: skip
    assert "could not be drawn" not in html
    assert "Left out:" not in html
    saved = {path.name for path in (drawn_report / "figures").iterdir()}
    assert {"AEC_loss.png", "AEC_reconstructions.png", "DEC_embedding.png"} <= saved
    assert len([name for name in saved if name.endswith(".png")]) == len(found.of("img")) > 12
    ids = [attributes["id"] for _, attributes in found.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in found.of("a") if a["href"].startswith("#")} <= set(ids)


def test_a_section_that_fails_becomes_a_note(run_folder, few_sections, caplog):
    def fails(results):
        raise KeyError("<i>lost</i>")

    few_sections(("run", "Run", fine), ("no", "No", lambda _: None), ("truth", "Known", fails))
    html = write_report(run_folder).read_text(encoding="utf-8")
    assert anchors(html) == ["run", "truth"]
    assert "Left out: KeyError: '<i>lost</i>'" in "".join(Elements(html).texts)
    assert "Known is left out: KeyError" in caplog.text


@pytest.mark.parametrize(
    ("stages", "words", "text"),
    [
        (["DEC"], [], "there is no DEC stage"),
        (["DEC", "GMM"], [], "there is no DEC stage"),
        ([], ["data.file=nowhere.h5"], "what needs them is left out: nowhere.h5"),
    ],
)
def test_some_stages_only_or_no_data(run_folder, stages, words, text, monkeypatch):
    monkeypatch.setattr(report, "png_of", lambda *_: one_pixel())
    for stage in stages:
        shutil.rmtree(run_folder / stage)
    html = write_report(run_folder, words).read_text(encoding="utf-8")
    assert text in html
    assert "Left out:" not in html
    assert "could not be drawn" not in html


# ---- never one made from less ----


@pytest.fixture
def with_page(run_folder, few_sections):
    """A run with its page, in which a cluster has a name; and what is not to change."""
    write_report(run_folder)

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
    assert "with -o other.html" in said
    other = tmp_path / "other.html"
    assert main(["report", "--run", str(run_folder), "-o", str(other)]) == 0
    assert anchors(other.read_text(encoding="utf-8")) == ["run"]
    assert content() == before
    if stage == "DEC":
        with pytest.raises(RunError, match=r"without DEC and data .*nowhere\.h5"):
            write_report(run_folder, ["data.file=nowhere.h5"])


def test_a_page_of_less_or_unknown_is_replaced(run_folder, few_sections):
    (run_folder / "DEC").rename(run_folder / "away")
    page = write_report(run_folder)
    assert made_from(page) == {"AEC", "GMM", "data"}
    (run_folder / "away").rename(run_folder / "DEC")
    page.write_text("<html></html>")
    write_report(run_folder)
    assert made_from(page) == {"AEC", "GMM", "DEC", "data"}
    begin_anew(run_folder, "DEC")
    page.write_text("<html></html>")
    with pytest.raises(RunError, match="is not replaced by a page without DEC"):
        write_report(run_folder)


def test_a_package_that_the_map_needs_is_asked_for_first(run_folder, few_sections, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    words = ["report", "--run", str(run_folder), "report.embedding=umap"]
    assert main(words) == 2
    assert not (run_folder / "report.html").exists()
    assert write_report(run_folder, words[-1:]).exists()  # at the end of a stage: the page without


def test_bad_words_folders_and_places(run_folder, tmp_path, few_sections):
    with pytest.raises(RunError, match="no such run folder"):
        write_report(tmp_path / "none")
    with pytest.raises(SettingsError, match="no key 'colour'"):
        write_report(run_folder, ["report.colour=red"])
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


def test_a_fault_of_the_report_spoils_no_run(run_folder, settings_of_run, monkeypatch, capsys):
    def fails(folder):
        raise OSError("disk full")

    monkeypatch.setattr(report, "write_report", fails)
    refine(run_folder, settings_of_run, "run.figures=yes")
    assert "the report could not be made: OSError: disk full" in capsys.readouterr().out
    assert (run_folder / "DEC/metrics.json").exists()


# ---- figures ----


def draw():
    figure = Figure(figsize=(2, 1), dpi=120)
    figure.subplots().plot([1, 2])
    return figure


def fail(*words):
    raise ValueError("drawn again")


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_figure_is_drawn_once_for_the_same_inputs(tmp_path, suffix, start):
    path = tmp_path / "figures" / f"a.{suffix}"
    png = png_of(path, "x", draw)
    assert png.startswith(b"\x89PNG")
    assert path.read_bytes().startswith(start)
    if suffix == "png":
        assert png_of(path, "x", fail) == png == path.read_bytes()
    with pytest.raises(ValueError, match="drawn again"):
        png_of(path, "y", fail)
    png_of(tmp_path / "b.png", "x", draw, writes=False)
    assert not (tmp_path / "b.png").exists()


def test_the_report_reads_what_a_stage_has_drawn_and_mapped(reported, monkeypatch):
    """The stage's figures and map, and those of the report before, are not made again."""
    (reported / "names.csv").unlink()
    with open_run(reported) as run:
        stage = run.stages["DEC"]
        folder = StageFolder(reported, "DEC")
        drawn = figures.draw_stage(run.file, folder, stage.settings, stage.metrics)
    names = ("DEC_embedding", "DEC_gallery", "DEC_history")
    assert sorted(path.name for path in drawn) == [f"{name}.png" for name in names]
    before = {path: path.stat().st_mtime_ns for path in reported.glob("figures/*")}
    monkeypatch.setattr(figures.latent, "embedding", fail)
    monkeypatch.setattr(figures, "mapped", fail)
    html = write_report(reported).read_text(encoding="utf-8")
    assert "could not be drawn" not in html
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with open_run(reported) as run:
        before = inputs_of([run.final], {})
        assert inputs_of([run.final], {0: "ice"}) != before
    (reported / "corrections.csv").write_text("index,label,mark\n7,2,odd\n")
    with open_run(reported) as run:
        assert inputs_of([run.final], {}) != before
    with Image.open(reported / "figures/AEC_loss.png") as image:
        assert len(image.info[INPUTS]) == 64


def test_a_rejected_refinement_has_the_map_of_the_mixture(run_folder, tmp_path, monkeypatch):
    with open_run(run_folder) as run:
        gmm, dec = run.labelling
        dec.metrics["refined"] = False
        index, points = figures.map_of(Results(run, writes=True), gmm, tmp_path)
        monkeypatch.setattr(figures, "mapped", fail)
        found = figures.map_of(Results(run), dec, tmp_path)
        assert np.array_equal(found[1], points)
        dec.metrics["refined"] = True
        with pytest.raises(ValueError, match="drawn again"):
            figures.map_of(Results(run), dec, tmp_path)


@pytest.mark.parametrize("n", [1, 5, 30])
def test_embedding_of_any_number(n, tmp_path):
    latents = np.random.default_rng(0).standard_normal((n + 1, 3)).astype(np.float32)
    latents[-1] = np.nan
    np.save(tmp_path / "latent.npy", latents)
    (tmp_path / "model.npz").write_bytes(b"x")
    labels, rows = np.r_[np.zeros(n, int), -1], open_rows(tmp_path / "latent.npy")
    values = {
        "latents": rows,
        "labels": labels,
        "sizes": np.array([n]),
        "path": tmp_path,
        "metrics": {},
    }
    stage = SimpleNamespace(name="GMM", settings=None, **values)
    results = SimpleNamespace(settings=Settings(), names={})
    figure = figures.embedding(results, stage, None)
    drawn = figure.axes[0].collections[0].get_offsets()
    assert len(drawn) == (n if n >= 5 else 0)


def test_reconstructions_are_those_of_the_stage(made_run):
    """The samples on the left are prepared as for training."""
    with open_run(made_run) as run:
        figure = figures.reconstructions(run.file, run.stages["AEC"])
        split = np.load(made_run / "AEC/split.npz")["validation"]
        left = [axes for axes in figure.axes if axes.get_ylabel().startswith("sample")]
        first = int(left[0].get_ylabel().split("\n")[0].removeprefix("sample "))
        assert (len(left), first) == (6, split[0])
        image = left[0].images[0].get_array()
        root = np.sqrt(run.file.read(first, first + 1)[0])
        np.testing.assert_allclose(image, root / np.linalg.norm(root), atol=1e-5)
