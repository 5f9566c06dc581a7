"""Every error message of the program in one style; and the exit codes."""

import ast
import re
import signal
from functools import cache
from itertools import product
from pathlib import Path

import pytest

import RISCluster.distributed  # noqa: F401  (has an error of its own)
from RISCluster.cli import guarded
from RISCluster.errors import DataError, RISClusterError, Stopped

ROOT = Path(__file__).parent.parent
FIELD = "{…}"

# Start of a message: a path or another named thing, a setting, the command line.
PLACES = (
    rf"({FIELD})+(:|,| =| is| has| holds) ",
    rf"\[(\w+|{FIELD})\] ",
    rf"(build|events|report)\.(\w+|{FIELD})( =|:) ",
    rf"provider {FIELD} ",
    r"(command line|comparison|encoder|picks|quakeml|templates|torchrun): ",
    r"GMM stage: ",
    rf"{FIELD} stage: ",
)
# Words of the part that tells what is allowed, or what to do.
WAYS_OUT = (
    r"allowed( here| for \w+)?:?", "must", "needs?", "give", "set", "take", "name", "run", "make",
    "choose", "change", "lower", "use", "copy", "move", "wait", "ask for", "check", "write",
    "leave", "pip install", rf"--({FIELD}|\w+)", "did you mean", "get",
)  # fmt: skip
# Messages without such a place or way out, and why.
WITHOUT_PLACE = {
    "a worker process was killed": "it is one of this program's own, and no file is at fault",
    f"no window in {FIELD}": "it is about all of the files that were given",
}
WITHOUT_WAY_OUT = {
    f"{FIELD}: is not the data that": "a note says that data.file=PATH names the data",
}
NAMES = ("HDF5", "StationXML", "CSV", "Zarr", "GMM")  # with which a message may start


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax trees of the package by path."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "RISCluster").rglob("*.py"))
    }


@cache
def error_classes() -> set[str]:
    """Names of RISClusterError and its subclasses."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found, before = {"RISClusterError"}, 0
    while len(found) > before:
        before = len(found)
        found |= {name for name, parents in bases.items() if parents & found}
    return found


def templates(node: ast.expr, functions: dict[str, ast.FunctionDef]) -> list[str]:
    """Texts of a message with {…} for its fields; of a call, the texts that it returns."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        parts = [templates(part, functions) for part in node.values]
        return ["".join(chosen) for chosen in product(*parts)]
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Call):
        return templates(node.value, functions)
    if isinstance(node, ast.BinOp):
        ends = templates(node.right, functions)
        return [start + end for start in templates(node.left, functions) for end in ends]
    if isinstance(node, ast.IfExp):
        return templates(node.body, functions) + templates(node.orelse, functions)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
        others = {key: value for key, value in functions.items() if key != node.func.id}
        returned = [x for x in ast.walk(functions[node.func.id]) if isinstance(x, ast.Return)]
        return [text for item in returned for text in templates(item.value, others)]
    return [FIELD]


@cache
def messages() -> set[tuple[str, str]]:
    """Module and template of every error that is made anywhere, raised there or returned."""
    found = set()
    for path, tree in modules().items():
        bodies = modules()["RISCluster/data/storage.py"].body + tree.body
        functions = {item.name: item for item in bodies if isinstance(item, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in error_classes():
                assert node.args, f"{path}, line {node.lineno}: an error without a message"
                found |= {(path, text) for text in templates(node.args[0], functions)}
    return found


def faults(text: str) -> list[str]:
    """Deviations of a message from the style."""
    start = re.match(r"\w*", text)[0]
    checks = {
        "starts with no place": not (
            re.match("|".join(PLACES), text) or text.startswith(tuple(WITHOUT_PLACE))
        ),
        "names no way out": not (
            re.search(rf"(?<![\w-])({'|'.join(WAYS_OUT)})(?!\w)", text)
            or text.startswith(tuple(WITHOUT_WAY_OUT))
        ),
        "starts with a capital letter": start[:1].isupper() and start not in NAMES,
        "ends with a full stop": text.rstrip().endswith("."),
        "asks or exclaims": bool(re.search(r"\bplease\b|!", text, re.I)),
        "calls itself an error": bool(re.search(r"\berror\b", text, re.I)),
        "has more than a line, or superfluous spaces": bool(re.search(r"\n|  |^ | $", text)),
    }
    return [what for what, wrong in checks.items() if wrong]


def test_every_message_is_in_the_style():
    assert not [(path, text, wrong) for path, text in messages() if (wrong := faults(text))]
    assert len(messages()) > 100
    for start in (*WITHOUT_PLACE, *WITHOUT_WAY_OUT):  # exceptions that are needed
        assert any(text.startswith(start) for _, text in messages()), start


def test_no_error_is_raised_otherwise():
    """As ``raise Class`` without a message, or ``module.Class(...)``, which would be overlooked."""
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise):
                name = getattr(node.exc, "id", None) or getattr(
                    getattr(node.exc, "func", None), "attr", None
                )
                assert name not in error_classes(), f"{path}, line {node.lineno}"


# ---- exit codes ----

CODES = [
    (lambda: None, 0, ""),
    (lambda: _raise(DataError("x.h5: no such file")), 2, "DataError: x.h5: no such file\n"),
    (lambda: _raise(Stopped("AEC stage: saved", 15)), 143, "Stopped: AEC stage: saved\n"),
    (lambda: _raise(KeyboardInterrupt), 130, "Stopped: files saved before are intact; run the sam"),
    (lambda: _raise(MemoryError), 2, "MemoryError: not enough memory; set data.loadmode=disk"),
    (lambda: _raise(RuntimeError("CUDA out of memory. A. B")), 2, "MemoryError: not enough GPU me"),
]


def _raise(error):
    raise error


@pytest.mark.parametrize(("work", "code", "text"), CODES)
def test_scripts_end_as_documented(capsys, work, code, text):
    assert guarded(work) == code
    error = capsys.readouterr().err
    assert error.startswith(text)
    assert error.count("\n") == bool(text)
    with pytest.raises(RuntimeError):  # ends with a traceback
        guarded(lambda: _raise(RuntimeError("not of memory")))


def test_every_exit_code_is_documented():
    table = (ROOT / "docs/settings.md").read_text(encoding="utf-8").split("| exit code |")[1]
    rows = re.findall(r"^\| ([\d, ]+) \| (.+) \|$", table.split("\n\n")[0], re.M)
    kinds = [RISClusterError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    codes = {kind.exit_code for kind in kinds}
    codes |= {Stopped("", number).exit_code for number in (signal.SIGINT, signal.SIGTERM)}
    assert codes | {0, 141} == {int(code) for codes, _ in rows for code in codes.split(",")}
    assert {kind.__name__ for kind in kinds if kind.exit_code != 2} == {"PeerLost"}
