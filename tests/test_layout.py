"""Order of the package: a module imports only from what stands before its own folder."""

import ast

from tests.conftest import ROOT

PACKAGE = ROOT / "RISCluster"
ORDER = (
    "data", "models", "training", "clustering", "waveforms", "fibre", "runs", "evaluation",
    "catalogue", "plots", "report", "stages", "commands",
)  # fmt: skip


def test_modules_import_only_what_stands_before_them():
    wrong = []
    for path in sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__main__.py"}):
        *folder, _ = path.relative_to(PACKAGE).parts
        place = ORDER.index(folder[0]) if folder else -1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            parts = (*folder[: len(folder) - node.level + 1], *(node.module or "").split("."))
            names = [parts[0]] if parts[0] else [alias.name for alias in node.names]
            wrong += [(path, x) for x in names if x in ORDER and ORDER.index(x) > place]
    assert not wrong
