from dataclasses import replace

import numpy as np
import pytest

from RISCluster.catalogue import peaks
from RISCluster.report import about_occurrence, where_blocks
from RISCluster.report.about_occurrence import section
from RISCluster.report.blocks import Note, Picture, Table, Text
from RISCluster.report.shown import Shown, plain
from RISCluster.runs.labels import LabelTable
from RISCluster.runs.run import open_run


def of(kind, found):
    return [block for block in found.blocks if isinstance(block, kind)]


def table_of(found, title):
    return next(block for block in of(Table, found) if title in block.title)


def pictures(found):
    return {block.name: block for block in of(Picture, found)}


def notes(found):
    return [block.text for block in of(Note, found)]


def with_table(run, table, k=3):
    """The run with other labels."""
    sizes = np.bincount(table.labels[table.labels >= 0], minlength=k).tolist()
    stage = run.final
    stage = replace(stage, metrics=stage.metrics | {"n_clusters": k, "cluster_sizes": sizes})
    stage.__dict__["table"] = table
    return replace(run, stages={**run.stages, stage.name: stage})


def synthetic(n_days=120, k=3, n_stations=2, n=6):
    """Cluster 0 occurs n times on every fourth day, the others once each day."""
    rows = [(day, 0) for day in range(0, n_days, 4) for _ in range(n)]
    rows += [(day, label) for day in range(n_days) for label in range(1, k)]
    day, label = np.array(sorted(rows)).T
    return LabelTable(
        label.astype("i2"),
        np.ones(len(day), "f4"),
        np.datetime64("2016-01-01T06", "us") + day * np.timedelta64(1, "D"),
        (np.arange(len(day)) % n_stations).astype("i4"),
        [f"XH.S{i:03d}..HHZ" for i in range(n_stations)],
    )


@pytest.fixture
def opened(run_folder):
    def open_with(*words):
        return open_run(run_folder, words)

    return open_with


def test_all_of_a_run(opened, tmp_path):
    (tmp_path / "st.csv").write_text(
        "net,sta,lat,lon\nXH,DR00,-80,179\nXH,DR01,-80.5,-179\nXH,DR02,-81,178\nXH,Q,99,0\n"
    )
    with opened(f"report.stations={tmp_path / 'st.csv'}", "report.interval=month") as run:
        found = section(run)
        table, names = run.final.table, pictures(found)
        assert found.anchor == "where-and-when"
        assert list(names) == [
            "report_stations", "report_station_map", "report_occurrence",
            "report_station_occurrence", "report_profiles",
        ]  # fmt: skip
        stations = table_of(found, "each station")
        assert stations.header == ("station", "all", "0", "1", "2")
        assert [row[0] for row in stations.rows] == [f"XH.DR0{i}" for i in range(4)]
        assert sum(row[1] for row in stations.rows) == 95
        assert np.sum([row[2:] for row in stations.rows], axis=0).tolist() == list(run.final.sizes)
        seasons = table_of(found, "season")
        assert seasons.header == ("cluster", "all", "Dec-Feb", "Mar-May", "Jun-Aug", "Sep-Nov")
        winter = ((np.arange(96) % 12 < 2) | (np.arange(96) % 12 == 11)) & (table.labels == 0)
        assert seasons.rows[0][2] == winter.sum()
        frequency = table_of(found, "Frequency of the largest value (Hz)")
        assert [row[1] for row in frequency.rows] == run.final.sizes.tolist()
        assert frequency.header[-1] == "upper quartile"  # all were read
        said = notes(found)
        assert any("1 of 4 have no coordinates" in text and "XH.DR03" in text for text in said)
        assert any("st.csv: 1 row left out, the first in line 5" in text for text in said)
        for picture in names.values():
            picture.draw().savefig(tmp_path / "x.png")


def test_missing_times_traces_or_both(opened):
    with opened() as run:
        table = run.final.table
        found = section(with_table(run, replace(table, starttime=None)))
        assert list(pictures(found)) == ["report_stations"]
        assert any("no start times" in text for text in notes(found))
        found = section(with_table(run, replace(table, trace=None, trace_ids=[])))
        assert list(pictures(found)) == ["report_occurrence", "report_profiles"]
        assert any("no trace ids" in text for text in notes(found))
        neither = replace(table, starttime=None, trace=None, trace_ids=[])
        found = section(with_table(run, neither))
        assert len(found.blocks) == 1
        assert "neither start times nor trace ids" in notes(found)[0]
        times = table.starttime.copy()
        times[[7, 8]] = np.datetime64("NaT")
        found = section(with_table(run, replace(table, starttime=times)))
        assert "2 samples without a start time left out here." in notes(found)


def test_a_wrong_clock_is_said_and_draws_nothing(opened, tmp_path):
    with opened("report.interval=hour") as run:
        table = run.final.table
        times = table.starttime.copy()
        times[11] = np.datetime64("1970-01-01T00:00:07")
        found = section(with_table(run, replace(table, starttime=times)))
        assert (
            "1 sample years away from all others left out here, as the clock may have been wrong: "
            f"the first is sample 11 of {table.trace_ids[table.trace[11]]}, 1970-01-01T00:00:07Z."
        ) in notes(found)
        assert any("Samples from 2016-01-01T" in block.text for block in of(Text, found))
        figure = pictures(found)["report_occurrence"].draw()
        assert figure.axes[-1].get_xlim()[0] > np.datetime64("2015-01-01").astype(int)


def test_no_stage_no_data_no_table(opened, run_folder):
    with opened("data.file=nowhere.h5") as run:
        assert "The data can't be read" in notes(section(run))[-1]
        assert section(replace(run, stages={"AEC": run.stages["AEC"]})) is None
    with opened() as run:
        (run_folder / "DEC/labels.csv").write_text("index,label,probability\n0,x,1\n")
        found = section(run)
        assert [type(block) for block in found.blocks] == [Note]
        assert "labels.csv: can't be read as a table of labels" in notes(found)[0]


def test_one_cluster_and_empty_ones(opened, tmp_path):
    table = synthetic(3, 2)
    with opened() as run:
        run = replace(with_table(run, table, k=4), file=None)
        for picture in pictures(section(run)).values():
            picture.draw().savefig(tmp_path / "x.png")
        one = replace(
            table,
            labels=np.where(np.arange(len(table.labels)) == 4, 0, -1).astype("i2"),
        )
        found = section(replace(with_table(run, one, k=1), file=None))
        for picture in pictures(found).values():
            picture.draw().savefig(tmp_path / "x.png")
        assert any("Less than a day" in block.text for block in of(Text, found))
        none = replace(table, labels=np.full(len(table.labels), -1, "i2"))
        found = section(replace(with_table(run, none, k=1), file=None))
        assert any("no start times" in text for text in notes(found))


def test_many_stations_and_clusters(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(about_occurrence, "CLUSTER_PANELS", 2)
    monkeypatch.setattr(where_blocks, "ROWS", 5)
    with opened("data.layout=cube") as run:
        run = replace(with_table(run, synthetic(40, 4, 9), k=4), file=None)
        found = section(run)
        table = table_of(found, "each channel")
        assert len(table.rows) == 5
        assert table.note == "The 5 channels with most samples, of 9."
        names = pictures(found)
        assert (
            "The 8 channels with most samples, of 9." in names["report_station_occurrence"].caption
        )
        assert "The 2 largest of 4 clusters are drawn." in names["report_occurrence"].caption
        figure = names["report_stations"].draw()
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["cluster 0", "cluster 1", "other clusters"]
        widths = [bar.get_width() for bar in figure.axes[1].patches]
        assert sum(widths) == pytest.approx(500)  # percent of five channels


def environment(path, n_days, lag):
    """A series that is high `lag` days before every fourth day, with a column of texts."""
    lines = [
        f"{np.datetime64('2016-01-01') + day}T12:00:00Z,{10 * ((day + lag) % 4 == 0) + day % 3},x"
        for day in range(-10, n_days + 10)
    ]
    path.write_text("\n".join(["time,swell,remark", *lines]) + "\n")
    return path


def test_environment_and_its_lag(opened, tmp_path):
    path = environment(tmp_path / "env.csv", 120, 1)
    with opened(f"report.environment={path}", "report.largest_lag=2", "report.interval=day") as run:
        found = section(replace(with_table(run, synthetic()), file=None))
        table = table_of(found, "Correlation")
        row = dict(zip(table.header, table.rows[0], strict=True))
        assert (row["cluster"], row["series"], row["best lag (days)"]) == ("0", "swell", 1)
        assert row["r there"] > 0.9
        assert row["beyond"] == "yes"
        assert row["bins"] == 119
        assert len(table.rows) == 1  # the others occur once a day: no correlation
        assert f"{path}: Column 'remark' holds no number and is left out." in notes(found)
        assert any("searched over all lags" in block.text for block in of(Text, found))
        for picture in pictures(found).values():
            picture.draw().savefig(tmp_path / "x.png")
        assert len(pictures(found)["report_occurrence"].draw().axes) == 4


def test_environment_that_does_not_fit(opened, tmp_path):
    path = tmp_path / "env.csv"
    with opened(f"report.environment={path}") as run:
        run = replace(with_table(run, synthetic()), file=None)
        assert any("env.csv: no such file" in text for text in notes(section(run)))
        path.write_text("time,x\n2011-01-01Z,1\n2011-01-01T00:00Z,5\n")
        assert any(
            "no value within the time of the data; it has values from 2011-01-01T00:00:00Z" in text
            for text in notes(section(run))
        )
        path.write_text("time,x\n2016-01-05T00:00Z,1\n2016-02-05T00:00Z,5\n")
        found = section(run)
        assert any("rows are 31 days apart, more than a bin" in text for text in notes(found))
        assert any("No correlation with the environment: it needs 10" in t for t in notes(found))
        assert "report_correlation" not in pictures(found)


def test_map_that_can_not_be_drawn(opened):
    with opened("report.stations=nowhere.xml") as run:
        assert any(
            "There is no map: report.stations: nowhere.xml" in t for t in notes(section(run))
        )


def test_a_sample_of_peaks_is_said(opened, monkeypatch):
    monkeypatch.setattr(peaks, "EXACT", 30)
    with opened() as run:
        table = table_of(section(run), "Frequency")
        assert table.header[-2:] == ["read", "standard error of the median"]
        assert [row[-2] for row in table.rows] == [10, 10, 10]
        assert "drawn at random" in table.note


def test_names_in_figures(opened):
    with opened() as run:
        catalogue = about_occurrence.catalogue_of(run.final)
    shown = Shown(run, catalogue, {1: "cost $5$", 2: "x" * 40}, np.arange(3))
    assert shown.titles == ["0", "1 cost $5$", "2 " + "x" * 40]
    assert shown.drawn_titles == ["cluster 0", r"1 cost \$5\$", "2 " + "x" * 23 + "…"]
    assert plain("tide") == "tide"
