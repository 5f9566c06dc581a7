import h5py
import numpy as np

from RISCluster.data.layouts import open_spectrograms
from RISCluster.evaluation.metrics import event_metrics
from RISCluster.runs.labels import new_labels, read_labels


def test_event_ids_of_the_file_are_in_the_table_and_scored(small_file, tmp_path):
    labels, events = np.arange(96) // 4 % 3, np.arange(96) // 4
    with open_spectrograms(small_file) as file:
        assert event_metrics(file, labels, 0) == {}
    with h5py.File(small_file, "a") as file:
        file["event_id"] = np.where(events > 0, events, -1)
    with open_spectrograms(small_file) as file, new_labels(tmp_path / "x.csv", file) as write:
        for start in (0, 50):  # two blocks
            write(start, labels[start : start + 50], np.ones(min(50, 96 - start)))
        found = event_metrics(file, labels, 0)
    assert read_labels(tmp_path / "x.csv")["event_id"].tolist() == [-1] * 4 + events[4:].tolist()
    assert (found["n_events"], found["event_agreement"]) == (23, 1)
