"""Order of the package: a module imports only from what stands before its own folder."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "RISCluster"
ORDER = (
    "data", "models", "training", "clustering", "waveforms", "fibre", "runs", "evaluation",
    "catalogue", "plots", "report", "stages", "commands",
)  # fmt: skip


def rooms_of(path: Path) -> set[str]:
    """Folders of the package from which a module imports, also inside functions."""
    here = path.relative_to(PACKAGE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = here[: len(here) - node.level + 1]
        parts = (*base, *(node.module or "").split("."))
        names = [parts[0]] if parts[0] else [alias.name for alias in node.names]
        found |= set(names) & set(ORDER)
    return found


def test_modules_import_only_what_stands_before_them():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        place = ORDER.index(parts[0]) if len(parts) > 1 else -1
        if path.name == "__main__.py":
            continue
        wrong += [
            f"{path.relative_to(PACKAGE)} imports {room}"
            for room in sorted(rooms_of(path))
            if ORDER.index(room) > place
        ]
    assert not wrong
