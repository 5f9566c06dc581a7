from dataclasses import replace

import numpy as np
import pandas
import pytest

from RISCluster.catalogue import peaks
from RISCluster.catalogue.catalogue import catalogue_of
from RISCluster.report import context_occurrence
from RISCluster.report.context_occurrence import Occurrences
from RISCluster.report.figures import Results
from RISCluster.runs.run import open_run
from tests.report.html import MAKE, Section


def section(run):
    return Section("where-and-when", run)


def with_table(run, table, k=3):
    """The run with other labels."""
    sizes = np.bincount(table["label"][table["label"] >= 0], minlength=k).tolist()
    stage = run.final
    stage = replace(stage, metrics=stage.metrics | {"n_clusters": k, "cluster_sizes": sizes})
    stage.__dict__["table"] = table
    return replace(run, stages={**run.stages, stage.name: stage})


def synthetic(n_days=120, k=3, n_stations=2, n=6):
    """Cluster 0 occurs n times on every fourth day, the others once each day."""
    rows = [(day, 0) for day in range(0, n_days, 4) for _ in range(n)]
    rows += [(day, label) for day in range(n_days) for label in range(1, k)]
    day, label = np.array(sorted(rows)).T
    ids = [f"XH.S{i:03d}..HHZ" for i in range(n_stations)]
    return pandas.DataFrame(
        {
            "label": label.astype("i2"),
            "probability": np.ones(len(day), "f4"),
            "starttime": np.datetime64("2016-01-01T06", "us") + day * np.timedelta64(1, "D"),
            "trace_id": pandas.Categorical.from_codes(np.arange(len(day)) % n_stations, ids),
        }
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
        table, names = run.final.table, found.figures
        assert list(names) == [
            "report_stations", "report_station_map", "report_occurrence",
            "report_station_occurrence", "report_profiles",
        ]  # fmt: skip
        stations = found.table("each station")
        assert stations[0] == ["station", "all", "0", "1", "2"]
        assert [row[0] for row in stations[1:]] == [f"XH.DR0{i}" for i in range(4)]
        assert sum(int(row[1]) for row in stations[1:]) == 95
        assert np.sum(np.array(stations[1:])[:, 2:].astype(int), 0).tolist() == list(
            run.final.sizes
        )
        seasons = found.table("season")
        assert seasons[0] == ["cluster", "all", "Dec-Feb", "Mar-May", "Jun-Aug", "Sep-Nov"]
        winter = ((np.arange(96) % 12 < 2) | (np.arange(96) % 12 == 11)) & (table["label"] == 0)
        assert seasons[1][2] == str(winter.sum())
        frequency = found.table("Frequency of the largest value (Hz)")
        assert [int(row[1]) for row in frequency[1:]] == run.final.sizes.tolist()
        assert frequency[0][-1] == "upper quartile"  # all were read
        said = found.notes
        assert any("1 of 4 have no coordinates" in text and "XH.DR03" in text for text in said)
        assert any("st.csv: 1 station left out, the first in line 5" in text for text in said)
        for picture in names.values():
            picture().savefig(tmp_path / "x.png")


def test_missing_times_traces_or_both(opened):
    with opened() as run:
        table = run.final.table
        found = section(with_table(run, table.drop(columns="starttime")))
        assert list(found.figures) == ["report_stations"]
        assert any("no start times" in text for text in found.notes)
        found = section(with_table(run, table.drop(columns="trace_id")))
        assert list(found.figures) == ["report_occurrence", "report_profiles"]
        assert any("no trace ids" in text for text in found.notes)
        neither = table.drop(columns=["starttime", "trace_id"])
        found = section(with_table(run, neither))
        assert found.text == ""
        assert "neither start times nor trace ids" in found.notes[0]
        times = table["starttime"].copy()
        times[[7, 8]] = np.datetime64("NaT")
        found = section(with_table(run, table.assign(starttime=times)))
        assert "2 samples without a start time left out." in found.notes


def test_a_wrong_clock_is_said_and_draws_nothing(opened, tmp_path):
    with opened("report.interval=hour") as run:
        table = run.final.table
        times = table["starttime"].copy()
        times[11] = np.datetime64("1970-01-01T00:00:07")
        found = section(with_table(run, table.assign(starttime=times)))
        assert (
            "1 sample years away from all others left out, probably by a wrong clock: "
            f"the first is sample 11 of {table['trace_id'][11]}, 1970-01-01T00:00:07Z."
        ) in found.notes
        assert "Samples from 2016-01-01T" in found.text
        figure = found.figures["report_occurrence"]()
        assert figure.axes[-1].get_xlim()[0] > np.datetime64("2015-01-01").astype(int)


def test_no_stage_no_data_no_table(opened, run_folder):
    with opened("data.file=nowhere.h5") as run:
        assert "The data can't be read" in section(run).notes[-1]
        assert (
            MAKE["where-and-when"](Results(replace(run, stages={"AEC": run.stages["AEC"]}))) is None
        )
    with opened() as run:
        (run_folder / "DEC/labels.csv").write_text("index,label,probability\n0,x,1\n")
        found = section(run)
        assert found.text == ""
        assert "labels.csv: can't be read as a table of labels" in found.notes[0]


def test_one_cluster_and_empty_ones(opened, tmp_path):
    table = synthetic(3, 2)
    with opened() as run:
        run = replace(with_table(run, table, k=4), file=None)
        for picture in section(run).figures.values():
            picture().savefig(tmp_path / "x.png")
        one = table.assign(
            label=np.where(np.arange(len(table)) == 4, 0, -1).astype("i2"),
        )
        found = section(replace(with_table(run, one, k=1), file=None))
        for picture in found.figures.values():
            picture().savefig(tmp_path / "x.png")
        assert "Less than a day" in found.text
        none = table.assign(label=np.full(len(table), -1, "i2"))
        found = section(replace(with_table(run, none, k=1), file=None))
        assert any("no start times" in text for text in found.notes)


def test_many_stations_and_clusters(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(context_occurrence, "CLUSTER_PANELS", 2)
    monkeypatch.setattr(context_occurrence, "STATION_ROWS", 5)
    with opened("data.layout=cube") as run:
        run = replace(with_table(run, synthetic(40, 4, 9), k=4), file=None)
        found = section(run)
        assert len(found.table("each channel")) == 1 + 5
        assert "The 5 channels with most samples, of 9." in found.text
        names = found.figures
        assert "The 8 channels with most samples, of 9." in found.text
        assert "The 2 largest of 4 clusters are drawn." in found.text
        figure = names["report_stations"]()
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
        table = found.table("Correlation")
        row = dict(zip(*table[:2], strict=True))
        assert (row["cluster"], row["series"], row["best lag (days)"]) == ("0", "swell", "1.00")
        assert float(row["r there"]) > 0.9
        assert row["beyond"] == "yes"
        assert row["bins"] == "119"
        assert len(table) == 1 + 1  # the others occur once a day: no correlation
        assert f"{path}: Column 'remark' holds no number and is left out." in found.notes
        assert "the search over all lags" in found.text
        for picture in found.figures.values():
            picture().savefig(tmp_path / "x.png")
        assert len(found.figures["report_occurrence"]().axes) == 4


def test_environment_that_does_not_fit(opened, tmp_path):
    path = tmp_path / "env.csv"
    with opened(f"report.environment={path}") as run:
        run = replace(with_table(run, synthetic()), file=None)
        assert any("env.csv: can't be read as a table" in text for text in section(run).notes)
        path.write_text("time,x\n2011-01-01Z,1\n2011-01-01T00:00Z,5\n")
        assert any(
            "no value within the time of the data; it has values from 2011-01-01T00:00:00Z" in text
            for text in section(run).notes
        )
        path.write_text("time,x\n2016-01-05T00:00Z,1\n2016-02-05T00:00Z,5\n")
        found = section(run)
        assert any("rows are 31 days apart, more than a bin" in text for text in found.notes)
        assert any("No correlation with the environment: it needs 10" in t for t in found.notes)
        assert "report_correlation" not in found.figures


def test_map_that_can_not_be_drawn(opened):
    with opened("report.stations=nowhere.xml") as run:
        assert any("There is no map: report.stations: nowhere.xml" in t for t in section(run).notes)


def test_a_sample_of_peaks_is_said(opened, monkeypatch):
    monkeypatch.setattr(peaks, "EXACT", 30)
    with opened() as run:
        table = section(run).table("Frequency")
        assert table[0][-2:] == ["read", "standard error of the median"]
        assert [row[-2] for row in table[1:]] == ["10"] * 3
        assert "drawn at random" in section(run).text


def test_names_in_figures(opened, run_folder):
    (run_folder / "names.csv").write_text(f"label,name\n1,cost $5$\n2,{'x' * 40}\n")
    with opened() as run:
        shown = Occurrences(Results(run), catalogue_of(run.final), {})
        assert shown.titles == ["0", "1 cost $5$", "2 " + "x" * 40]
        assert shown.drawn_titles == ["cluster 0", r"1 cost \$5\$", "2 " + "x" * 25 + "…"]
