from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from RISCluster.io import open_rows
from RISCluster.report import figures
from RISCluster.report.figures import INPUTS, Results, png_of
from RISCluster.report.make_report import write_report
from RISCluster.run_folder import StageFolder
from RISCluster.runs.run import open_run
from RISCluster.settings import Settings

NAMES = ("DEC_embedding", "DEC_gallery", "DEC_history")


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
        with Image.open(path) as image:
            assert image.size == (240, 120)
    with pytest.raises(ValueError, match="drawn again"):
        png_of(path, "y", fail)
    png_of(tmp_path / "b.png", "x", draw, writes=False)
    assert not (tmp_path / "b.png").exists()


def test_the_report_reads_what_a_stage_has_drawn(reported, monkeypatch):
    """The stage's figures, and those of the report before, are not drawn again."""
    (reported / "names.csv").unlink()
    with open_run(reported) as run:
        stage = run.stages["DEC"]
        folder = StageFolder(reported, "DEC")
        drawn = figures.draw_stage(run.file, folder, stage.settings, stage.metrics)
    assert sorted(path.name for path in drawn) == [f"{name}.png" for name in NAMES]
    before = {path: path.stat().st_mtime_ns for path in reported.glob("figures/*")}
    monkeypatch.setattr(figures.latent, "embedding", fail)
    html = write_report(reported).read_text(encoding="utf-8")
    assert "could not be drawn" not in html
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (reported / "names.csv").write_text("label,name\n0,ice\n")
    html = write_report(reported).read_text(encoding="utf-8")
    assert "DEC_embedding could not be drawn: ValueError: drawn again" in html
    with Image.open(reported / "figures/AEC_loss.png") as image:
        assert len(image.info[INPUTS]) == 64


@pytest.mark.parametrize("n", [1, 4, 5, 30])
def test_embedding_of_any_number(n, tmp_path):
    latents = np.random.default_rng(0).standard_normal((n + 1, 3)).astype(np.float32)
    latents[-1] = np.nan
    np.save(tmp_path / "latent.npy", latents)
    labels, rows = np.r_[np.zeros(n, int), -1], open_rows(tmp_path / "latent.npy")
    stage = SimpleNamespace(name="GMM", latents=rows, labels=labels, sizes=np.array([n]))
    results = SimpleNamespace(settings=Settings(), names={})
    figure = figures.embedding(results, stage)
    drawn = figure.axes[0].collections[0].get_offsets()
    assert len(drawn) == (n if n >= 5 else 0)


def test_reconstructions_are_those_of_the_stage(made_run):
    """The samples on the left are prepared as for training."""
    with open_run(made_run) as run:
        figure = figures.reconstructions(run.file, run.stages["AEC"])
        split = np.load(made_run / "AEC/split.npz")["validation"]
        left = [axes for axes in figure.axes if axes.get_ylabel().startswith("sample")]
        assert len(left) == 6
        first = int(left[0].get_ylabel().split("\n")[0].removeprefix("sample "))
        assert first == split[0]
        image = left[0].collections[0].get_array().reshape(16, 20)
        root = np.sqrt(run.file.read(first, first + 1)[0])
        np.testing.assert_allclose(image, root / np.linalg.norm(root), atol=1e-5)


def test_titles_of_samples(made_run):
    with open_run(made_run) as run:
        results = Results(run)
        chosen = results.representatives.typical[0].iloc[:1]
        [title] = figures.titles_of(results, chosen, "  p {probability:.1f}")
        row = run.final.table.iloc[chosen["sample"]].iloc[0]
        time, probability = row["starttime"], chosen["probability"].iloc[0]
        trace = row["trace_id"]
        assert title == f"{time:%Y-%m-%d %H:%M:%S}\n{trace}  p {probability:.1f}"
