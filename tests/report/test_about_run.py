import json
import shutil

import numpy as np
import pytest

from RISCluster.report.about_run import data_table, section, settings_rows, tiles
from RISCluster.report.asides import Folded
from RISCluster.report.blocks import Note, Picture, Table, Tiles
from RISCluster.runs.run import open_run


def change_metrics(folder, stage, **values):
    """Edit metrics.json, which is no longer the one that was sealed."""
    path, provenance = folder / stage / "metrics.json", folder / stage / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    content = json.loads(provenance.read_text())
    content["results"].pop("metrics.json", None)
    content.pop("checksum", None)
    provenance.write_text(json.dumps(content))


def by_name(rows):
    return {row[0]: row[1] for row in rows}


def test_tiles_are_those_of_the_final_labels(run_folder):
    change_metrics(run_folder, "DEC", accuracy=0.98765)
    with open_run(run_folder) as run:
        found = {name: (value, words) for name, value, words in tiles(run)}
        sizes = run.final.sizes
        assert found["Samples"] == ("96", "in the file")
        assert found["Clusters"] == ("3", f"of {sizes.min()} to {sizes.max()} samples")
        assert found["Unusable"] == ("1", "1.04% of all, labelled -1")
        known = run.final.table.probability[run.final.table.labels >= 0]
        share = (known < 0.5).mean()
        assert found["Doubtful labels"][0] == (f"{share:.1%}" if share else "0")
        assert found["Accuracy"] == ("0.988", "against the known classes")
        assert found["Refined"][0] == ("yes" if run.final.metrics["refined"] else "no")


def test_refinement_that_was_not_kept_is_said(run_folder):
    change_metrics(run_folder, "DEC", refined=False)
    with open_run(run_folder) as run:
        assert ("Refined", "no") in [tile[:2] for tile in tiles(run)]


def test_data(run_folder):
    with open_run(run_folder) as run:
        rows = by_name(data_table(run).rows)
        assert rows["Samples"] == "96 of 16 x 20 (frequency x time)"
        assert rows["Frequency"] == "1 to 8.5 Hz, step 0.5 Hz"
        assert rows["Time"] == "0 to 1.9 s, step 0.1 s"
        times = run.final.table.starttime
        assert rows["Time span"].startswith("2016-01-01 00:00:00 to 2016-12-01 23:00:")
        assert str(times.max())[:10] == "2016-12-01"
        assert rows["Stations"] == "4, 4 traces"
        assert rows["Known classes"] == "3, for scoring"
        n = run.stages["AEC"].metrics
        assert rows["Trained on"] == f"{n['n_train']} samples, validated on {n['n_validation']}"


def test_times_that_are_not_known(run_folder):
    with open_run(run_folder) as run:
        run.final.table.starttime[:95] = np.datetime64("NaT")
        span = by_name(data_table(run).rows)["Time span"]
        assert span.endswith("(under 1 s); 95 samples without a time")
        run.final.table.starttime[:] = np.datetime64("NaT")
        assert by_name(data_table(run).rows)["Time span"] == "no sample has a time"


def test_a_time_of_a_wrong_clock_is_not_in_the_span(run_folder):
    with open_run(run_folder) as run:
        run.final.table.starttime[3] = np.datetime64("2262-01-01")
        span = by_name(data_table(run).rows)["Time span"]
        assert span.startswith("2016-01-01 00:00:00 to 2016-12-01")
        assert span.endswith("; 1 sample years away, as of 2262-01-01 00:00:00")


def test_notes_come_first_and_what_is_there_follows(run_folder):
    shutil.rmtree(run_folder / "DEC")
    with open_run(run_folder, ["data.file=nowhere.h5"]) as run:
        blocks = section(run).blocks
        assert [type(block) for block in blocks[:2]] == [Note, Note]
        assert "there is no DEC stage" in blocks[0].text
        assert "nowhere.h5" in blocks[1].text
        tile = next(block for block in blocks if isinstance(block, Tiles))
        assert ("Refined", "no", "the DEC stage is not there") in tile.tiles
        rows = by_name(data_table(run).rows)
        assert rows["File"] == "nowhere.h5"
        assert "Frequency" not in rows


def test_an_autoencoder_alone(run_folder):
    for stage in ("GMM", "DEC"):
        shutil.rmtree(run_folder / stage)
    with open_run(run_folder) as run:
        found = section(run)
        assert "No sample is labelled yet" in found.blocks[2].text
        assert [tile[0] for tile in tiles(run)] == ["Samples", "Validation loss"]


def test_settings_that_differ_are_those_that_were_given(run_folder):
    with open_run(run_folder) as run:
        rows = settings_rows(run)
        different = {row[0]: row[1:3] for row in rows if row[1] != row[2]}
        assert different["aec.n_features"] == ("3", "9")
        assert different["dec.n_clusters"] == ("3", "auto")
        assert different["run.figures"] == ("no", "yes")
        assert "aec.lr" not in different
        assert "gmm.select" in {row[0] for row in rows}
        assert not [row for row in rows if row[0].startswith(("build.", "cube.", "report."))]


def test_stages_and_what_is_folded(run_folder):
    with open_run(run_folder) as run:
        blocks = section(run).blocks
        stages = next(b for b in blocks if isinstance(b, Table) and b.title == "Stages")
        assert [row[0] for row in stages.rows] == ["AEC", "GMM", "DEC"]
        folds = [block for block in blocks if isinstance(block, Folded)]
        assert [fold.title for fold in folds] == ["Versions and commands", "All settings"]
        versions = by_name(folds[0].blocks[0].rows)
        assert versions["torch"] == run.stages["AEC"].provenance["versions"]["torch"]


@pytest.mark.parametrize("there", [True, False])
def test_the_map_of_a_cube(run_folder, there):
    if there:
        (run_folder / "DEC/labels.h5").write_bytes(b"damaged, which shows when it is drawn")
    with open_run(run_folder) as run:
        pictures = [block for block in section(run).blocks if isinstance(block, Picture)]
        assert [picture.name for picture in pictures] == ["report_cluster_map"] * there
