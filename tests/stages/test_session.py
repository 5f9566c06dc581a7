import shlex

import pytest

from RISCluster.settings import load_found_settings, load_settings
from RISCluster.stages.session import next_command


@pytest.mark.parametrize(
    ("stage", "words", "command"),
    [
        ("AEC", [], "python GMM_centroids.py run.name=x"),
        ("GMM", ["run.folder=/runs"], "python DEC_train.py run.name=x run.folder=/runs"),
        (
            "DEC", [],
            "python -m RISCluster predict NEW.h5 --run Outputs/x -o x_new_labels.csv",
        ),
        ("DEC", ["run.figures=no"], "python -m RISCluster report --run Outputs/x"),
    ],
)  # fmt: skip
def test_next_command_has_all_that_it_needs(stage, words, command):
    assert next_command(load_settings(None, ["run.name=x", *words]), stage) == command


def test_next_command_names_the_settings_file(tmp_path):
    path = tmp_path / "my settings.ini"
    path.write_text("[run]\nname = a b\n")
    command = next_command(load_found_settings(str(path), []), "AEC")
    assert shlex.split(command)[2:] == ["--config", str(path), "run.name=a b"]
