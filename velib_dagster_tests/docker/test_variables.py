"""One table of variables, in the README: every variable that anything reads, its default, and who reads it."""

import re
from pathlib import Path

import pytest

from velib_dagster.runtime import dagster_services
from velib_dagster.runtime.mlflow import allowed_hosts, allowed_origins
from velib_dagster.settings import Feed, Settings, SettingsError
from velib_dagster_tests.docker.composed import FOLDER, ROOT, text, variables

INTERNAL = {"VELIB_PART", "VELIB_DAGSTER_STORAGE", "VELIB_DAGSTER_LOGS", "VELIB_UPGRADED"}
"""What one process of the platform hands to another: nobody sets them."""


def table() -> dict[str, list[str]]:
    """Variable → the other columns of its row."""
    rows: dict[str, list[str]] = {}
    for line in (ROOT / "README.md").read_text().splitlines():
        if line.startswith("| `VELIB_"):
            names, *others = [cell.strip() for cell in line.strip("|").split(" | ")]
            for name in re.findall(r"`(\w+)`", names):
                assert name not in rows, f"{name} stands twice"
                rows[name] = others
    return rows


def readers() -> dict[str, set[str]]:
    """Variable → the files of the package that name it."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "velib_dagster").rglob("*.py"):
        for name in re.findall(r'"(VELIB_[A-Z_]+)"', path.read_text()):
            found.setdefault(name, set()).add(str(path.relative_to(ROOT / "velib_dagster")))
    return found


def test_the_table_has_every_variable_and_no_other() -> None:
    assert set(table()) == (set(readers()) | variables()) - INTERNAL


@pytest.mark.parametrize("name", sorted(table()))
def test_who_reads_a_variable_does(name: str) -> None:
    default, reader, words = table()[name]
    assert default
    assert words
    [path] = re.findall(r"`([\w/.]+)`", reader)
    named = text() if path == "docker/compose.yaml" else (ROOT / "velib_dagster" / path).read_text()
    assert name in named


def test_the_readmes_say_how_a_server_is_started() -> None:
    for name in ("README.md", "README.fr.md", "docs/operating.md"):
        page = (ROOT / name).read_text()
        assert "docker compose up --detach --build" in page, name
        for path in re.findall(r"\bdocker/[\w.]+\w", page):
            assert (ROOT / path).exists() or path == "docker/.env", path


def test_the_operators_page_names_every_service() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    services = re.findall(r"^  ([a-z-]+):$", text().split("\nservices:\n")[1].split("\nvolumes:")[0], re.MULTILINE)
    assert len(services) == 9
    assert [name for name in services if f"`{name}`" not in page] == []
    assert (FOLDER / ".env.example").exists()


def test_ports_of_the_environment_stand_before_the_home_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Settings(home=tmp_path, feed=Feed("some", ""), ports={"dagster": 1, "kafka": 2}).save()
    monkeypatch.setenv("VELIB_PORTS", "dagster=3000, mlflow=5000")
    assert Settings.load(tmp_path).ports == {"dagster": 3000, "kafka": 2, "mlflow": 5000}


@pytest.mark.parametrize("given", ["dagster", "dagster=0", "dagster=70000", "web=3000", "dagster=x"])
def test_a_port_that_can_t_be_is_named(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_PORTS", given)
    with pytest.raises(SettingsError, match=re.escape(given)):
        Settings.load(tmp_path)


def test_mlflow_answers_under_the_names_of_the_parts_and_of_people(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        feed=Feed("some", ""),
        mlflow_address="http://mlflow:5000",
        mlflow_public="https://models.example.org/",
    )
    assert {"mlflow:5000", "models.example.org", "localhost:*"} <= set(allowed_hosts(settings))
    assert "*" not in allowed_hosts(settings)
    assert allowed_origins(settings) == ("https://models.example.org",)


def test_the_names_of_dagster_s_page_reach_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_DAGSTER_PUBLIC", "https://Dagster.example.org/, 10.0.0.4:3000,dagster.lan")
    monkeypatch.setenv("VELIB_PORTS", "dagster=3000")
    settings = Settings.load(tmp_path)
    assert settings.dagster_public == ("https://dagster.example.org", "10.0.0.4:3000", "dagster.lan")
    monkeypatch.setattr(dagster_services, "environment", lambda _settings: {})
    argv = dagster_services.webserver(settings).argv
    assert "dagster_webserver" not in argv
    assert [argv[place + 1] for place, word in enumerate(argv) if word == "--public"] == list(settings.dagster_public)


@pytest.mark.parametrize("given", ["ftp://name", "https://name/path", "two names", "*", "https://", "name:port"])
def test_a_public_name_that_can_t_be_is_named(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_DAGSTER_PUBLIC", given)
    with pytest.raises(SettingsError, match=r"VELIB_DAGSTER_PUBLIC: "):
        Settings.load(tmp_path)
