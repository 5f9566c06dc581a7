"""The page of a run: whole, of less, and at the end of a stage; its figures."""

import os
import re
import shutil
import sys
from functools import partial

import numpy as np
import pytest
from matplotlib.figure import Figure

from RISCluster.__main__ import main
from RISCluster.errors import DataError, MissingPackage, RunError, SettingsError
from RISCluster.plots import figures
from RISCluster.plots.figures import FIGURES, image_of
from RISCluster.plots.results import Results
from RISCluster.report import make_report as report
from RISCluster.report.make_report import MADE_FROM, write_report
from RISCluster.run_folder import StageFolder
from RISCluster.runs.run import open_run
from RISCluster.settings import load_settings
from RISCluster.stages.refine import run_dec
from tests.report.html import Elements, one_pixel


def fails(*_):
    raise KeyError("<i>lost</i>")


def test_whole_report(run_folder, monkeypatch):
    make = Figure.__init__  # to lay figures out takes half of the time
    plain = lambda self, *words, layout, **more: make(self, *words, **more)  # noqa: E731
    monkeypatch.setattr(Figure, "__init__", plain)
    html = write_report(run_folder).read_text(encoding="utf-8")
    found = Elements(html)
    assert [section["id"] for section in found.of("section")] == [
        "overview", "clusters", "samples", "map", "stations", "time", "relations", "truth", "run",
        "training", "choice", "measures", "comparison",
    ]  # fmt: skip
    assert "left out: " not in html
    saved = {path.stem for path in run_folder.glob("figures/*.png")}
    drawn = {name.replace("final", "DEC") for name in FIGURES}
    assert drawn - saved == {"DEC_map", "DEC_section", "report_samples", "report_station_map"}
    assert len(saved) == len(found.of("img"))
    ids = [element.get("id") for element in found.root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in found.of("a")} <= set(ids)


def test_what_fails_becomes_a_note(run_folder, monkeypatch, caplog):
    sections = (("map", "", None), ("chosen", "No content", None), ("b", "Known", fails))
    monkeypatch.setattr(report, "SECTIONS", sections)
    monkeypatch.setattr(report, "TECHNICAL", ())
    html = write_report(run_folder).read_text(encoding="utf-8")
    assert [section["id"] for section in Elements(html).of("section")] == ["map", "b"]
    assert "This section is left out: KeyError: '<i>lost</i>'" in Elements(html).text
    assert "Known: left out: KeyError" in caplog.text


def test_less_is_refused_or_does_not_replace_more(run_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "image_of", one_pixel)
    with pytest.raises(RunError, match=r"no labels or no data.* nowhere\.h5"):
        write_report(run_folder, ["data.file=nowhere.h5"])
    page = write_report(run_folder)
    assert MADE_FROM.search(page.read_text("utf-8"))[1] == "AEC GMM DEC"
    before = {path: path.read_bytes() for path in (page, run_folder / "names.csv")}
    for name in ("environment", "stations"):  # tables that can't be used
        with pytest.raises(DataError, match=f"report.{name}: .*names.csv: can't be read as a tab"):
            write_report(run_folder, [f"report.{name}={run_folder / 'names.csv'}"])
    StageFolder(run_folder, "DEC").begin({"something": "else"}, "[run]\n")
    assert main(["report", "--run", str(run_folder)]) == 2
    assert "report.html: is not replaced by a page without DEC (" in capsys.readouterr().err
    other = tmp_path / "other.html"
    assert main(["report", "--run", str(run_folder), "-o", str(other)]) == 0
    html, logged = other.read_text(encoding="utf-8"), "".join(capsys.readouterr())
    assert "the DEC stage is unfinished" in html
    assert "the DEC stage is unfinished" in logged
    assert "section is left out" not in html
    assert before == {path: path.read_bytes() for path in before}
    assert MADE_FROM.search(html)[1] == "AEC GMM"


def test_chosen_samples(run_folder, monkeypatch):
    drawn = []
    monkeypatch.setattr(report, "image_of", lambda _, name: drawn.append(name) or one_pixel())
    words = ["report.samples=40,3-5"]  # 5 is unusable
    html = write_report(run_folder, words).read_text("utf-8")
    assert "report_samples" in drawn
    assert re.findall("</b> sample ([0-9]+)</p>", html) == ["40", "3", "4"]
    with open_run(run_folder, words) as run:
        row, figure = run.final.table.loc[40], figures.chosen(Results(run))
    titles = [axes.get_title() for axes in figure.axes]
    facts = f"cluster {row.label}, p {row.probability:.2f}", f"{row.starttime:%F %T}", "XH.DR00"
    assert titles[0].splitlines() == ["sample 40", *facts]
    assert titles[3].startswith("sample 5\n2016")
    with pytest.raises(SettingsError, match=r"report\] samples: .* has no sample 96; .* to 95$"):
        write_report(run_folder, ["report.samples=95-96"])


def test_missing_package_and_one_report_of_a_sweep(run_folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingPackage, match="pip install umap-learn"):
        write_report(run_folder, ["report.embedding=umap"])
    words = f"run.folder={run_folder.parent}", f"run.name={run_folder.name}", "run.figures=yes"
    load = partial(load_settings, shutil.move(run_folder / "DEC/config.ini", run_folder))
    shutil.rmtree(run_folder / "DEC")
    with pytest.raises(MissingPackage, match="pip install umap-learn"):
        run_dec(load((*words, "report.embedding=umap")))
    assert not (run_folder / "DEC").exists()
    made = []
    monkeypatch.setattr(report, "write_report", lambda folder: made.append(folder) or fails())
    run_dec(load((*words, "dec.lr=0.001,0.01")))
    assert made == [run_folder]
    assert "the report could not be made: KeyError" in capsys.readouterr().out
    assert (run_folder / "DEC/metrics.json").exists()


def test_what_stages_have_drawn_is_not_drawn_again(run_folder, monkeypatch):
    names = ("AEC_loss", "AEC_reconstructions", "GMM_selection", "final_gallery", "final_embedding")
    for name in names:
        monkeypatch.setitem(FIGURES, name, lambda _: Figure((1, 1)))
    with open_run(run_folder) as run:
        stages = [run.stages[name] for name in ("AEC", "GMM")]
        for one in stages:
            folder = StageFolder(run_folder, one.name)
            drawn = figures.draw_stage(run.file, folder, one.settings, one.metrics)
        assert [path.stem for path in drawn] == ["GMM_selection", "GMM_gallery", "GMM_embedding"]
        for name in names:
            monkeypatch.setitem(FIGURES, name, fails)
        for name in names[:3]:
            assert image_of(Results(run), name).size == (100, 100)
        with pytest.raises(KeyError):  # of the last stage
            image_of(Results(run), "DEC_gallery")
        later = (stages[0].path / "metrics.json").stat().st_mtime + 1000
        os.utime(stages[0].path / "metrics.json", (later, later))
        with pytest.raises(KeyError):  # the stage was made anew
            image_of(Results(run), "AEC_loss")


def test_the_same_latents_have_the_same_map(run_folder, monkeypatch):
    with open_run(run_folder) as run:
        results = Results(run, writes=True)
        results.mapped = run.stages["GMM"]
        _, points = figures.map_of(results)
        monkeypatch.setattr(figures, "mapped", fails)
        with pytest.raises(KeyError):
            figures.map_of(Results(run))
        shutil.copy(run_folder / "GMM/latent.npy", run_folder / "DEC/latent.npy")
        assert np.array_equal(figures.map_of(Results(run))[1], points)


def test_reconstructions_are_those_of_the_stage(made_run):
    with open_run(made_run) as run:
        left = figures.reconstructions(Results(run)).axes[0]
        first = int(np.load(made_run / "AEC/split.npz")["validation"][0])
        assert left.get_ylabel().startswith(f"sample {first}\n")
        root = np.sqrt(run.file.read(first, first + 1)[0])
        image = left.images[0].get_array()
        np.testing.assert_allclose(image, root / np.linalg.norm(root), atol=1e-5)


def test_settings_of_words_and_of_a_file(run_folder, here, capsys, monkeypatch):
    def section(results):
        return {"notes": [f"stations {results.settings.report.stations}"]}

    monkeypatch.setattr(report, "SECTIONS", (("only", "Only", section),))
    monkeypatch.setattr(report, "TECHNICAL", ())
    (here / "config.ini").write_text("[report]\nstations = mine.csv\n[data]\nfile = no.h5\n")
    (here / "my.ini").write_text("[report]\nstations = other.csv\n")
    for name in ("mine", "other", "here"):
        (here / f"{name}.csv").write_text("net,sta,lat,lon\nXH,DR00,-80,179\n")
    for words, stations in (
        ([], "mine.csv"),
        (["--config", "my.ini"], "other.csv"),
        (["report.stations=here.csv"], "here.csv"),
    ):
        assert main(["report", "--run", str(run_folder), *words]) == 0
        path = run_folder / "report.html"
        assert capsys.readouterr().out.splitlines()[-1] == str(path)
        assert f"stations {stations}" in path.read_text(encoding="utf-8")
