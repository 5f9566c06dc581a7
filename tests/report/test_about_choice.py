import pytest

from RISCluster.clustering.selection import contradictions, read_rows
from RISCluster.clustering.stability import MAX_RESAMPLE_SIZE
from RISCluster.errors import CheckpointError
from RISCluster.report.about_choice import section
from RISCluster.report.blocks import Note, Picture, Table, Text
from RISCluster.runs.run import open_run
from tests import made


def of(found, kind):
    return [block for block in found.blocks if isinstance(block, kind)]


def test_of_a_run(made_run):
    with open_run(made_run) as run:
        found = section(run)
        chosen = run.stages["GMM"].n_clusters
    assert found.anchor == "choice"
    assert of(found, Text)[0].text.startswith(f"K = {chosen} was selected by BIC.")
    choices, values = of(found, Table)
    assert [row[0] for row in choices.rows] == [
        "BIC", "AIC", "silhouette", "gap statistic", "knee of the inertia", "stability"
    ]  # fmt: skip
    assert values.header[-2:] == ["stability", "stability s.d."]
    assert [row[0] for row in values.rows] == [2, 3, 4]
    assert f"K = {chosen} is selected" in of(found, Picture)[0].draw().get_suptitle()


def test_what_speaks_against_it_is_noted(tmp_path):
    lines = ["n_clusters,bic,aic,silhouette,inertia,gap,gap_std", "2,1,1,0.1,9,1,1"]
    lines += ["3,0,1,0.2,3,1,1", "4,2,1,0.3,2,1,1", "5,3,1,0.4,1,1,1"]
    write(tmp_path, "\n".join(lines) + "\n")
    found = section(made.run(in_folder(tmp_path, made.stage("GMM", [0, 1, 2]))))
    rows = read_rows(tmp_path / "GMM/selection.csv")
    (said,) = contradictions(rows, 3, "bic")
    (note,) = of(found, Note)
    assert note.text == f"The {said[4:]}."
    assert f"hold {MAX_RESAMPLE_SIZE:,} latents at most" in of(found, Table)[0].note


def test_an_old_run_without_stability(made_run, tmp_path):
    lines = (made_run / "GMM/selection.csv").read_text().splitlines()
    (tmp_path / "GMM").mkdir()
    old = "\n".join(line.rsplit(",", 2)[0] for line in lines)
    (tmp_path / "GMM/selection.csv").write_text(old + "\n")
    run = made.run(in_folder(tmp_path, made.stage("GMM", [0, 1, 2])))
    choices, values = of(section(run), Table)
    assert "not computed" in choices.rows[-1][2]
    assert values.header[-1] == "gap s.e."


def test_one_number_was_fitted(tmp_path):
    write(tmp_path, "n_clusters,bic,aic,silhouette,inertia,gap,gap_std\n2,1,1,1,1,1,1\n")
    found = section(made.run(in_folder(tmp_path, made.stage("GMM", [0, 1]))))
    assert [type(block) for block in found.blocks] == [Text]
    assert "K = 2: there was nothing to choose" in found.blocks[0].text


def test_refinement_of_another_number(tmp_path):
    write(
        tmp_path,
        "n_clusters,bic,aic,silhouette,inertia,gap,gap_std\n2,1,1,1,2,1,1\n3,2,2,0,1,1,1\n",
    )
    gmm = in_folder(tmp_path, made.stage("GMM", [0, 1]))
    found = section(made.run(gmm, made.stage("DEC", [0, 1, 2])))
    assert "asked for 3 clusters (dec.n_clusters), and not for the 2" in of(found, Note)[0].text
    assert of(section(made.run(gmm, made.stage("DEC", [0, 1]))), Note) == []


def test_missing(tmp_path):
    assert section(made.run(made.stage("DEC", [0, 1]))) is None
    with pytest.raises(CheckpointError, match=r"selection\.csv"):
        section(made.run(in_folder(tmp_path, made.stage("GMM", [0, 1]))))


def write(folder, text):
    (folder / "GMM").mkdir()
    (folder / "GMM/selection.csv").write_text(text)


def in_folder(folder, stage):
    object.__setattr__(stage, "path", folder / "GMM")
    return stage
