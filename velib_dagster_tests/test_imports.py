"""The direction of imports is the direction of the data."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "velib_dagster"

MAY_IMPORT = {
    "files": set(),
    "errors": set(),
    "masking": set(),
    "feed_address": set(),
    "variables": {"errors", "feed_address"},
    "homes": {"errors", "feed_address", "masking"},
    "settings": {"files", "errors", "feed_address", "homes", "masking", "variables"},
    "clock": {"settings"},
    "certificates": set(),
    "stopping": set(),
    "locks": set(),
    "store": {"files", "settings", "events"},
    "simulator": {"files", "settings"},
    "feed": {"files", "homes", "masking", "settings", "store"},
    "events": {"files", "settings", "store", "feed"},
    "streaming": {"files", "settings", "stopping", "locks", "store", "feed", "events", "archive"},
    "archive": {"files", "settings", "locks", "store", "feed", "events"},
    "statistics": {"clock", "locks", "settings", "store", "feed", "events", "archive"},
    "forecast": {"settings", "store", "feed", "events", "archive", "statistics"},
}
EVERYTHING = {"orchestration", "definitions", "runtime", "commands", "cli"}


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "velib_dagster":
                names = [f"velib_dagster.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("velib_dagster.")}
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_folder_imports_only_what_lies_before_it(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in EVERYTHING or part == "__init__":
        return
    assert imported_parts(path) - {part} <= MAY_IMPORT[part]


def test_only_orchestration_knows_dagster() -> None:
    def knows(path: Path) -> bool:
        return any(
            (isinstance(node, ast.Import) and any(a.name.split(".")[0].startswith("dagster") for a in node.names))
            or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0].startswith("dagster"))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )

    knowing = {p.relative_to(PACKAGE).parts[0] for p in MODULES if knows(p)}
    assert knowing <= {"orchestration", "definitions.py"}


def test_every_module_says_what_it_holds() -> None:
    silent = [str(p.relative_to(PACKAGE)) for p in MODULES if not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []
