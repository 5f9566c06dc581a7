"""Every error message of the program in one style; and the exit codes."""

import ast
import re
import signal
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIELD = "{…}"

# What a message begins with: a path or another thing that is named, a setting, the command line.
PLACES = (
    rf"({FIELD})+(:|,| =| is| has| holds) ",
    rf"\[(\w+|{FIELD})\] ",
    rf"(build|report)\.(\w+|{FIELD})( =|:) ",
    rf"provider {FIELD} ",
    r"(command line|comparison|encoder|quakeml|torchrun): ",
    r"GMM stage: ",
    rf"{FIELD} stage: ",
)
# What names a way out: what is allowed, or what to do.
WAYS_OUT = (
    r"allowed( here| for \w+)?:?", "must", "needs?", "give", "set", "take", "name", "run", "make",
    "choose", "change", "lower", "use", "copy", "move", "wait", "ask for", "check", "write",
    "leave", "pip install", rf"--({FIELD}|\w+)", "did you mean", "get",
)  # fmt: skip
# Messages without such a place or way out, and why.
WITHOUT_PLACE = {
    "a worker process was killed": "it is one of this program's own, and no file is at fault",
    f"no window in {FIELD}": "it is about all of the files that were given",
    f"nothing was downloaded of {FIELD}": "the request that is named is the place",
    f"no waveforms of {FIELD}": "the request that is named is the place",
    f"no station matches {FIELD}": "the request that is named is the place",
}
WITHOUT_WAY_OUT = {
    f"no window in {FIELD}": "the last field is one of four ways out",
    f"{FIELD}: is not the data that": "a note tells it, and that data.file=PATH names the data",
}
NAMES = ("HDF5", "StationXML", "CSV", "Zarr", "GMM")  # that a message may begin with


# ---- finding them ----


def modules() -> dict[str, ast.Module]:
    """Syntax trees of the package by path."""
    paths = sorted((ROOT / "RISCluster").rglob("*.py"))
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


def error_classes(trees: dict[str, ast.Module]) -> set[str]:
    """Names of RISClusterError and of what is derived from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found, before = {"RISClusterError"}, 0
    while len(found) > before:
        before = len(found)
        found |= {name for name, parents in bases.items() if parents & found}
    return found


def templates(node: ast.expr, functions: dict[str, ast.FunctionDef]) -> list[str]:
    """What a message can read, its fields as {…}; a function's are those that it returns."""
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
        name = node.func.id
        others = {key: value for key, value in functions.items() if key != name}
        returned = [item for item in ast.walk(functions[name]) if isinstance(item, ast.Return)]
        return [text for item in returned for text in templates(item.value, others)]
    return [FIELD]


@cache
def messages() -> list[tuple[str, str, str]]:
    """Module, class and template of every error that is made anywhere, sorted.

    Not of every ``raise`` alone: some are made by a function and raised where it is called.
    """
    trees = modules()
    classes = error_classes(trees)
    found = set()
    for path, tree in trees.items():
        bodies = trees["RISCluster/data/storage.py"].body + tree.body
        functions = {item.name: item for item in bodies if isinstance(item, ast.FunctionDef)}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in classes:
                assert node.args, f"{path}, line {node.lineno}: an error without a message"
                found |= {(path, node.func.id, text) for text in templates(node.args[0], functions)}
    return sorted(found)


# ---- the checks ----


def raised_otherwise(tree: ast.Module, classes: set[str]) -> list[int]:
    """Lines where an error class is raised as ``module.Class(...)`` or without a message."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and (
            (isinstance(node.exc, ast.Name) and node.exc.id in classes)
            or (
                isinstance(node.exc, ast.Call)
                and isinstance(node.exc.func, ast.Attribute)
                and node.exc.func.attr in classes
            )
        )
    ]


def faults(text: str) -> list[str]:
    """What in a message is not in the style."""
    start = re.match(r"\w*", text)[0]
    checks = {
        "begins with no place": not (
            re.match("|".join(PLACES), text) or text.startswith(tuple(WITHOUT_PLACE))
        ),
        "names no way out": not (
            re.search(rf"(?<![\w-])({'|'.join(WAYS_OUT)})(?!\w)", text)
            or text.startswith(tuple(WITHOUT_WAY_OUT))
        ),
        "begins with a capital letter": start[:1].isupper() and start not in NAMES,
        "ends with a full stop": text.rstrip().endswith("."),
        "asks or exclaims": bool(re.search(r"\bplease\b|!", text, re.I)),
        "says that it is an error": bool(re.search(r"\berror\b", text, re.I)),
        "is more than a line, or has spaces too many": bool(re.search(r"\n|  |^ | $", text)),
    }
    return [what for what, wrong in checks.items() if wrong]


def test_every_message_is_in_the_style():
    wrong = [(path, text, said) for path, _, text in messages() if (said := faults(text))]
    assert not wrong


def test_every_error_is_found():
    trees = modules()
    classes = error_classes(trees)
    assert {"SettingsError", "BadRecord", "PeerLost", "Stopped"} <= classes
    assert not {
        path: lines for path, tree in trees.items() if (lines := raised_otherwise(tree, classes))
    }
    # Made by a function, and raised where it is called.
    assert any("the state of the last good epoch is kept" in text for _, _, text in messages())


def test_exceptions_to_the_style_are_needed():
    texts = [text for _, _, text in messages()]
    for start in (*WITHOUT_PLACE, *WITHOUT_WAY_OUT):
        assert any(text.startswith(start) for text in texts), f"no message begins with {start!r}"


# ---- exit codes ----


def documented() -> dict[int, str]:
    """The table of the documentation: what each exit code says."""
    table = (ROOT / "docs/settings.md").read_text(encoding="utf-8").split("| exit code |")[1]
    rows = re.findall(r"^\| ([\d, ]+) \| (.+) \|$", table.split("\n\n")[0], re.M)
    return {int(code): text for codes, text in rows for code in codes.split(",")}


def ended(work: str) -> tuple[int, str]:
    """Exit code and stderr of a process that does `work` as a script does its own."""
    code = (
        "import os, signal, sys; from RISCluster import errors; from RISCluster.cli import guarded;"
        f"\ndef work(): {work}\nsys.exit(guarded(work))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


def test_every_exit_code_is_documented():
    import RISCluster.distributed  # noqa: F401  (has an error of its own)
    from RISCluster.errors import RISClusterError, Stopped

    kinds = [RISClusterError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    codes = {kind.exit_code for kind in kinds}
    codes |= {Stopped("", number).exit_code for number in (signal.SIGINT, signal.SIGTERM)}
    assert codes | {0} == set(documented())
    assert {kind.__name__ for kind in kinds if kind.exit_code != 2} == {"PeerLost"}


def test_scripts_end_as_documented():
    says = documented()
    assert ended("pass") == (0, "")
    assert ended("raise errors.DataError('x.h5: no such file')") == (
        2,
        "DataError: x.h5: no such file\n",
    )
    assert "one line on stderr" in says[2]
    for number, name in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
        code, said = ended(f"raise errors.Stopped('AEC stage: saved', {int(number)})")
        assert (code, said) == (128 + number, "Stopped: AEC stage: saved\n")
        assert name in says[code]
    # Where nothing waits for it; a shell's background jobs start with it ignored.
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler); "
    code, said = ended(heard + "os.kill(os.getpid(), signal.SIGINT)")
    assert (code, said.count("\n")) == (130, 1)
    assert said.endswith(": what was saved before is intact; run the same command to go on\n")
    code, said = ended("raise MemoryError")
    assert (code, said.count("\n")) == (2, 1)
    for fault in ("1 / 0", "raise RuntimeError('not of memory')"):
        code, said = ended(fault)
        assert code == 1
        assert said.startswith("Traceback")
    assert "traceback" in says[1]
