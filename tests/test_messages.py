"""Every error message of the program in one style; and the exit codes."""

import ast
import re
from unittest.mock import Mock

import pytest

from RISCluster.distributed import PeerLost
from RISCluster.errors import DataError, RISClusterError, Stopped, guarded
from RISCluster.runtime import log, start_log
from tests.conftest import ROOT

FIELD = "{…}"

# Start of a message: a path or another named thing, a setting, the command line.
PLACES = (
    rf"({FIELD})+(:|,| =| is| has| holds) ",
    rf"\[(\w+|{FIELD})\] ",
    rf"(build|events|report)\.(\w+|{FIELD})( =|:) ",
    r"(command line|comparison|encoder|picks|quakeml|templates|torchrun): ",
    rf"(GMM|{FIELD}) stage: ",
    r"a worker process was killed",  # of this program, and no file is at fault
    rf"no window in {FIELD}",  # about all of the files that were given
)
# Words of the part that tells what is allowed, or what to do.
WAYS_OUT = (
    "allowed", "must", "needs?", "give", "set", "take", "name", "run(?! of)", "make", "choose",
    "change", "start", "lower", "use", "move", "wait", "asks? for", "write", "leave", "pip install",
    r"--\w+", "is not the data that",  # a note says that data.file=PATH names the data
)  # fmt: skip


def template(node: ast.expr) -> str:
    """Text of a message with {…} for its fields."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else FIELD


def messages() -> list[tuple[str, str, str]]:
    """Place, template and all texts of every error that is made anywhere."""
    names, found = {kind.__name__ for kind in RISClusterError.__subclasses__()}, []
    for path in sorted((ROOT / "RISCluster").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "func", getattr(node, "exc", None))  # a call, or `raise Class`
            name = getattr(name, "id", getattr(name, "attr", ""))
            if name in names:
                place = f"{path.relative_to(ROOT)}, line {node.lineno}"
                assert getattr(node, "args", None), f"{place}: no message"
                texts = [x.value for x in ast.walk(node.args[0]) if isinstance(x, ast.Constant)]
                found.append((place, template(node.args[0]), " ".join(map(str, texts))))
    return found


def faults(text: str, texts: str) -> list[str]:
    """Deviations of a message from the style."""
    start = re.match(r"\w*", text)[0]
    is_call = not re.search(r"\w", text)  # a function makes the message
    has_way_out = re.search(rf"(?<![\w[-])({'|'.join(WAYS_OUT)})(?!\w)", texts)
    checks = {
        "starts with no place": not (is_call or re.match("|".join(PLACES), text)),
        "names no way out": not (is_call or has_way_out),
        "starts with a capital letter": start[:1].isupper() and start != "GMM",
        "ends with a full stop": text.rstrip().endswith("."),
        "has more than a line, or superfluous spaces": re.search(r"\n|  |^ | $", text),
    }
    return [what for what, wrong in checks.items() if wrong]


def test_every_message_is_in_the_style():
    found = messages()
    assert not [(place, text, wrong) for place, text, x in found if (wrong := faults(text, x))]
    assert len(found) > 100


@pytest.mark.parametrize(("error", "shown"), [(BrokenPipeError, False), (OSError, True)])
def test_work_goes_on_where_head_closed_the_output(capsys, monkeypatch, error, shown):
    monkeypatch.setattr("sys.stdout", Mock(write=Mock(side_effect=error)))
    start_log()
    log.info("seen by nobody")
    assert ("Logging error" in capsys.readouterr().err) == shown


CODES = [
    (None, 0, ""),
    (DataError("x.h5: no such file"), 2, "DataError: x.h5: no such file\n"),
    (Stopped("AEC stage: saved", 15), 143, "Stopped: AEC stage: saved\n"),
    (BrokenPipeError(), 141, ""),
    (KeyboardInterrupt(), 130, "Stopped: run the same command"),
    (MemoryError(), 2, "MemoryError: out of memory; set data.loadmode=disk"),
    (RuntimeError("CUDA out of memory. A"), 2, "MemoryError: CUDA out of memory."),
]


@pytest.mark.parametrize(("error", "code", "text"), CODES)
def test_scripts_end_as_documented(capsys, monkeypatch, error, code, text):
    monkeypatch.setattr("os.dup2", Mock())
    monkeypatch.setattr("sys.stdout", Mock())
    assert guarded(Mock(side_effect=error)) == code
    message = capsys.readouterr().err
    assert message.startswith(text)
    assert message.count("\n") == bool(text)
    monkeypatch.setenv("RANK", "1")  # an error that all processes have is printed by rank 0
    assert (guarded(Mock(side_effect=DataError("x.h5: no"))), capsys.readouterr().err) == (2, "")
    with pytest.raises(RuntimeError):  # ends with a traceback
        guarded(Mock(side_effect=RuntimeError("not of memory")))
    table = (ROOT / "docs/settings.md").read_text(encoding="utf-8").split("| exit code |")[1]
    rows = re.findall(r"^\| ([\d, ]+) \| (.+) \|$", table.split("\n\n")[0], re.M)
    documented = {int(each) for codes, _ in rows for each in codes.split(",")}
    assert documented == {code, 0, 2, 130, 141, 143, PeerLost.exit_code}
