from dataclasses import replace

from RISCluster.report import about_samples
from RISCluster.report.blocks import Table
from RISCluster.runs.run import open_run


def tables(run):
    return [block for block in about_samples.section(run).blocks if isinstance(block, Table)]


def test_onsets_where_they_are_known(run_folder):
    with open_run(run_folder) as run:
        for table in tables(run):
            assert table.header[2:5] == ["Start time (UTC)", "Onset (UTC)", "Trace"]
            for row in table.rows:
                assert len(row) == len(table.header)
                assert row[3] == (f"{row[2]}.250" if int(row[1]) < 93 else None)
        assert tables(run)[-1].header[-1] == "Training samples less likely"
        run.final.__dict__["table"] = replace(run.final.table, onset=None)
        for table in tables(run):
            assert table.header[2:4] == ["Start time (UTC)", "Trace"]
            assert all(len(row) == len(table.header) for row in table.rows)
