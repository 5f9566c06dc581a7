"""What the README promises."""

import re
import stat
import tomllib

from tests.conftest import ROOT


def first_screen() -> str:
    return (ROOT / "README.md").read_text().split("\n## ")[0]


def test_test_command_is_what_ci_runs():
    script = (ROOT / ".ci/run").read_text().splitlines()
    command = script[-1]
    assert command.endswith("python -m pytest -n 2 --dist worksteal")
    assert command in first_screen()
    assert (ROOT / ".ci/run").stat().st_mode & stat.S_IXUSR


def test_workflow_and_hooks_run_what_the_gate_runs():
    gate = (ROOT / ".ci/run").read_text()
    assert "run: bash .ci/run\n" in (ROOT / ".github/workflows/tests.yml").read_text()
    hooks = re.findall(r"entry: (\.venv\S+ \w+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert len(hooks) == 2
    assert all(f"{hook} " in gate for hook in hooks)


def test_run_command_runs_the_three_stages_in_order():
    command = next(line for line in first_screen().splitlines() if "DEC_train.py" in line)
    scripts = re.findall(r"(\w+\.py)", command)
    assert scripts == ["AEC_train.py", "GMM_centroids.py", "DEC_train.py"]
    assert "requirements-tested.txt" in command


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_pins_are_within_the_ranges():
    pins = dict(
        re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "requirements-tested.txt").read_text(), re.M)
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["waveforms"], *extras["cubes"]]:
        name, least = requirement.split(">=")
        pinned = tuple(map(int, pins[name].split(".")))
        assert pinned >= tuple(map(int, least.split(".")))


def test_conda_files_have_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    del extras["embedding"]  # its packages hold back NumPy's version
    extras = sum(extras.values(), [])
    names = {requirement.split(">=")[0] for requirement in project["dependencies"] + extras}
    names -= {"pytest", "pytest-xdist", "ruff"}
    for file, torch in (("CPU", "pytorch-cpu"), ("CUDA", "pytorch-gpu")):
        text = (ROOT / f"RISCluster_{file}.yml").read_text()
        there = set(re.findall(r"- ([\w-]+)>=", text))
        expected = (names - {"torch", "matplotlib"}) | {torch, "matplotlib-base"}
        assert expected <= there
        assert "- defaults" not in text
        assert "- pytorch\n" not in text
