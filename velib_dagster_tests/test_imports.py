"""The direction of imports is the direction of the data."""

import ast
import importlib
import re
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


def test_what_runs_processes_imports_none_of_dagsters_layer() -> None:
    """What it needs of it, it starts as a process of its own: `python -m velib_dagster.orchestration...`."""
    layer = {"orchestration", "definitions", "commands", "cli"}
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in (PACKAGE / "runtime").rglob("*.py")
        if (names := imported_parts(path) & layer)
    }
    assert found == {}


SQL = re.compile(
    r"\b(SELECT\s.+?\sFROM\s|SELECT\s+\w+\(|INSERT\s+INTO\s|DELETE\s+FROM\s|UPDATE\s+\S+\s+SET\s|TRUNCATE\s"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|VIEW|INDEX|FUNCTION|ROLE|DATABASE)\s|COPY\s+\S+\s+(FROM|TO)\s|VACUUM\b"
    r"|WITH\s+\w+\s+AS\s*\()",
    re.IGNORECASE | re.DOTALL,
)


def sql_texts(source: str) -> list[str]:
    """The string constants of a module that hold a statement of SQL; docstrings are prose."""
    tree = ast.parse(source)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            texts.append(node.value)
    return [text for text in texts if SQL.search(text)]


@pytest.mark.parametrize(
    "statement",
    [
        '"SELECT a FROM b"',
        '"""\nselect a,\n  b\nfrom c"""',
        '"SELECT now()"',
        '"DELETE " "FROM polls WHERE true"',
        'f"SELECT {columns} FROM {table}"',
        '"UPDATE polls SET time = now()"',
        '"INSERT INTO polls VALUES (1)"',
        '"COPY polls FROM STDIN"',
        '"WITH newest AS (SELECT 1) TABLE newest"',
        '"VACUUM (ANALYZE) polls"',
        '"ALTER TABLE polls ADD time int"',
    ],
)
def test_a_statement_of_sql_is_found_wherever_it_stands(statement: str) -> None:
    assert sql_texts(f"X = {statement}")
    assert sql_texts(f"def f():\n    '''Words.'''\n    return run({statement})")


def test_prose_is_no_sql() -> None:
    assert (
        sql_texts('"""Which rows to select from a table."""\nX = "deleted from polls, updated with the newest"') == []
    )


@pytest.mark.parametrize("path", sorted((PACKAGE / "orchestration").rglob("*.py")), ids=lambda p: p.name)
def test_dagsters_layer_holds_no_sql(path: Path) -> None:
    """Statements are functions of `store/`, with a name and a docstring; here their results are shown."""
    assert sql_texts(path.read_text(encoding="utf-8")) == []


def test_every_module_says_what_it_holds() -> None:
    silent = [str(p.relative_to(PACKAGE)) for p in MODULES if not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "benchmarks").glob("*.py")), ids=lambda p: p.name)
def test_what_a_benchmark_takes_from_the_package_is_there(path: Path) -> None:
    """No other test runs them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("velib_dagster"):
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
