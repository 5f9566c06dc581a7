"""Labels for new data with a finished run."""

import json
import re

import h5py
import numpy as np
import pytest

from RISCluster.__main__ import main
from tests.conftest import blobs, write_samples
from tests.stages.conftest import table


def predict(file, run, output, *words):
    return main(["predict", str(file), "--run", str(run), "-o", str(output), *words])


@pytest.mark.parametrize("stage", ["dec", "gmm"])
def test_training_set_gets_the_labels_it_had(trained, tmp_path, stage):
    run, data = trained
    assert predict(data, run, tmp_path / "l.csv", "--stage", stage) == 0
    folder = run / stage.upper()
    got, had = table(tmp_path / "l.csv"), table(folder / "labels.csv")
    assert got[7]["onset"] == "2016-08-01T07:00:07.250000Z"
    assert got[7]["peak_amplitude"] == "0.007"
    for name in ("index", "label", "starttime", "onset"):
        assert [row[name] for row in got] == [row[name] for row in had]
    found, known = ([float(row["probability"]) for row in rows] for rows in (got, had))
    np.testing.assert_allclose(found, known, atol=1e-5)
    latents = np.load(tmp_path / "l.latent.npy"), np.load(folder / "latent.npy")
    np.testing.assert_allclose(*latents, atol=1e-4)
    # Its own quantiles are uniform: that is what makes them comparable.
    usable = [row for row in got if row["label"] != "-1"]
    quantiles = [float(row["error_quantile"]) for row in usable]
    np.testing.assert_allclose(np.sort(quantiles), np.arange(95) / 95, atol=0.011)
    assert sum(int(row["outlier"]) for row in usable) <= 2


def test_other_things_are_outliers_and_unusable_ones_are_named(trained, tmp_path, capsys):
    x = blobs(60)[0]
    x[:20], x[20], x[21], x[22] = np.random.default_rng(0).random((20, 16, 20)), np.nan, 0, -1
    file = write_samples(tmp_path / "new.h5", x)
    assert predict(file, trained[0], tmp_path / "l.csv") == 0
    rows = table(tmp_path / "l.csv")
    outlying = [int(row["outlier"] or 0) for row in rows]
    assert sum(outlying[:20]) == 20
    assert sum(outlying[23:]) <= 3
    for row in rows[20:23]:
        assert (row["label"], row["probability"], row["outlier"]) == ("-1", "0.000000", "")
        assert row["reconstruction_error"] == row["likelihood_quantile"] == ""
    assert np.isnan(np.load(tmp_path / "l.latent.npy")[20:23]).all()
    out = capsys.readouterr().out
    assert "3 of 60 samples are unusable" in out
    assert "labelled -1: 20, 21, 22" in out
    write_samples(file, -1 - blobs(9)[0])
    assert predict(file, trained[0], tmp_path / "none.csv") == 0
    assert "no sample has a label: decibels need data.amplitude" in capsys.readouterr().out


def test_several_files_are_labelled_as_one_set_in_blocks(trained, tmp_path, monkeypatch):
    run, data = trained
    monkeypatch.setattr("RISCluster.stages.predict.COLUMN_ROWS", 37)
    with h5py.File(data) as file:
        for name, rows in (("a", slice(0, 40)), ("b", slice(40, 96))):
            write_samples(tmp_path / f"{name}.h5", file["spectrogram"][rows])
    assert predict(tmp_path / "?.h5", run, tmp_path / "l.csv") == 0
    got, had = table(tmp_path / "l.csv"), table(run / "DEC/labels.csv")
    assert [row["label"] for row in got] == [row["label"] for row in had]
    assert (got[70]["file"], got[70]["file_index"]) == (f"{tmp_path}/b.h5", "30")


def test_what_does_not_fit_the_run_is_refused(trained, tmp_path, refused):
    run, data = trained
    x, words = blobs(9)[0], ["--run", run, "-o", tmp_path / "l.csv"]
    short = write_samples(tmp_path / "short.h5", x[:, :, :18])
    text = "18 time bins from 0 to 1.7 s, and those that .* 20 time bins from 0 to 1.9 s"
    refused(["predict", short, *words], text)
    axis = write_samples(tmp_path / "axis.h5", x)
    with h5py.File(axis, "a") as opened:
        opened["frequency"][:] = np.arange(16) + 2.0
    text = "16 frequency bins from 2 to 17 Hz, .* and those that .* from 1 to 8.5 Hz"
    refused(["predict", axis, *words], text)
    assert not list(tmp_path.glob("l.*"))
    for name in ("l.latent.npy", "l.html"):
        (tmp_path / name).write_bytes(b"mine")
        more = [*words, "run.figures=yes"]
        refused(["predict", data, *more], f"{name}: exists already; give another name")
        (tmp_path / name).unlink()


def test_names_corrections_and_page(trained, run_folder, tmp_path):
    labels = [int(row["label"]) for row in table(run_folder / "DEC/labels.csv")]
    sizes, other = [labels.count(label) for label in range(3)], (labels[7] + 1) % 3
    names = f"stage,label,size,name\nDEC,{other},{sizes[other]},ice\n"
    (run_folder / "names.csv").write_text(names)
    (run_folder / "corrections.csv").write_text("index,label,mark\n7,ice,sure\n")
    assert predict(trained[1], run_folder, tmp_path / "own.csv") == 0
    row = table(tmp_path / "own.csv")[7]
    assert (row["label"], row["probability"], row["name"]) == (str(other), "1.000000", "ice")
    x = blobs(60, seed=5)[0]
    x[20:40] = np.random.default_rng(0).random((20, 16, 20))  # outliers
    ids = [f"XH.DR{i % 2}..HHZ".encode() for i in range(60)]
    file = write_samples(tmp_path / "new.h5", x, trace_id=ids)
    assert predict(file, run_folder, tmp_path / "l.csv", "run.figures=yes") == 0
    assert (tmp_path / "l.gallery.png").read_bytes().startswith(b"\x89PNG")
    assert not (run_folder / "figures").exists()
    text = (tmp_path / "l.html").read_text()
    assert "<title>l, labelled with run</title>" in text
    assert "The data differ from the training set" in text
    assert len(re.findall('class="card"', text)) == 3
    known = table(tmp_path / "l.csv")
    assert [one["name"] for one in known] == ["ice" * (one["label"] == str(other)) for one in known]
    assert known[7]["label"] == str(labels[7])  # a correction is of the data of the run
    for label, row in enumerate(re.findall(r"<tr data-c.*?</tr>", text.split("</table>")[0])):
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", row)
        outlying = [one["outlier"] == "1" for one in known if one["label"] == str(label)]
        share = f"{sizes[label] / sum(sizes):.1%}"
        assert cells[0] == (f"{label} ice" if label == other else str(label))
        assert [cells[at] for at in (1, 3, 5)] == [str(len(outlying)), share, str(sum(outlying))]
    data = json.loads(re.search(r'type="application/json" id="data">(.*?)</script>', text)[1])
    assert data["corrections"] is None
    assert [one["size"] for one in data["clusters"]] == sizes  # for names.csv of the run
