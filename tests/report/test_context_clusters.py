from RISCluster.runs.run import open_run
from tests.report.html import Section


def test_clusters(run_folder):
    with open_run(run_folder) as run:
        found = Section("clusters", run)
        assert "Deep embedded clustering (DEC) sorted 95 samples into 3 clusters" in found.text
        assert [table["title"] for table in found.tables] == [
            "DEC: clusters", "GMM and DEC side by side", "GMM: clusters"
        ]  # fmt: skip
        marked = [picture.cluster for picture in found.figures.values()]
        assert marked == [0, 1, 2, None, None, None, None, None]
        assert list(found.figures)[-1] == "DEC_embedding"
    with open_run(run_folder, ["data.file=nowhere.h5"]) as run:
        found = Section("clusters", run)
        assert "Without the data there are no figures of samples" in found.notes[0]
        assert "report_means" not in found.figures


def test_samples_and_onsets_where_they_are_known(run_folder):
    with open_run(run_folder) as run:
        found = Section("samples", run)
        assert "report_outlying" in found.figures
        for table in found.tables:
            header, *rows = table["rows"]
            assert header[2:5] == ["Start time (UTC)", "Onset (UTC)", "Trace"]
            for row in rows:
                assert row[3] == (f"{row[2]}.250" if int(row[1]) < 93 else "–")
        assert found.table("Outlying")[0][-1] == "Training samples less likely"
        run.final.__dict__["table"] = run.final.table.drop(columns="onset")
        for table in Section("samples", run).tables:
            assert table["rows"][0][2:4] == ["Start time (UTC)", "Trace"]
