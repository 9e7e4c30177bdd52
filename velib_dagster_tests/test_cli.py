"""The commands as a user meets them: help, errors in words, exit status."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from velib_dagster.cli import app, main
from velib_dagster.settings import LAYOUT_VERSION

COMMANDS = sorted(get_command(app).commands)


def velib(*words: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "HOME": str(home), "COLUMNS": "200", **environment}
    del known["XDG_DATA_HOME"]
    return subprocess.run(
        [sys.executable, "-m", "velib_dagster.cli", *words], capture_output=True, text=True, env=known, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.stdout
    assert len(shown.stdout.split("Options")[0].splitlines()) > 2, "no sentence about the command"


def test_it_says_its_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"velib_dagster {version('velib_dagster')}\n"


def test_the_commands_are_those_of_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert [command for command in COMMANDS if f"velib {command}" not in readme] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["up", "--feed", "nowhere"], "'nowhere' is none of live, simulated, recordings"),
        (["export", "x.csv", "--days", "yesterday"], "--days yesterday"),
        (["export", "x.csv", "--rows", "bikes"], "--rows bikes"),
        (["export", "x.csv"], "no finished spell yet"),
        (["stats", "bikes"], "stats bikes: one of stations, zones, cells, empty, full"),
        (["stats", "zones", "--days", "2024-11-07..2024-11-06"], "2024-11-07..2024-11-06: the first day is after the"),
        (["stats", "zones"], "velib up"),
        (["backfill", "missing"], "missing"),
        (["produce", "--once"], "velib up"),
        (["poll", "--cut"], "--cut stands with --standby"),
        (["dsn"], "velib up"),
        (["fetch", "--nrows", "0"], "0"),
        (["train"], "no finished spell yet"),
        (["train", "--target", "busy"], "target 'busy': one of full, empty, both"),
        (["train", "--horizons", "soon"], "minutes separated by commas"),
        (["train", "--models", "oracle"], "model oracle: one or more of logistic_lags"),
        (["train", "--validate-from", "2024-11-07"], "give both days"),
        (["train", "--history", "missing.parquet"], "missing.parquet: no such file"),
        (["train", "a.parquet"], "stand behind --history"),
        (["forecast"], "velib up"),
        (["adopt"], "no platform"),
        (["feed-url", "lyon"], "no address of a feed"),
    ],
)
def test_an_error_is_a_sentence_and_no_traceback(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # in this process, which is spared twenty starts of Python: an error that nobody put in words comes out of `main`
    monkeypatch.setattr(sys, "argv", ["velib", *words])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("VELIB_FEED_URL", "http://127.0.0.1:9/export")
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 1, shown.out
    assert told in shown.err


def test_the_sql_of_statistics_is_printed_without_a_platform(tmp_path: Path) -> None:
    words = ("stats", "empty", "--days", "2024-11-06..2024-11-07", "--top", "5", "--sql")
    shown = velib(*words, home=tmp_path)
    assert shown.stdout == (
        "SELECT * FROM empty_stations('2024-11-06', '2024-11-07') ORDER BY seconds_empty DESC, station_code LIMIT 5;\n"
    )
    assert velib("stats", "zones", "--sql", home=tmp_path).stdout.startswith("SELECT * FROM zone_stats ORDER BY")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_recordings_starts_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    shown = velib("backfill", str(empty), home=tmp_path)
    assert shown.returncode == 1
    assert "no recording" in shown.stderr
    assert not (tmp_path / ".local").exists()


def test_a_home_of_another_version_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "home.json").write_text(json.dumps({"layout": LAYOUT_VERSION + 1}))
    shown = velib("status", "--home", str(home), home=tmp_path)
    assert shown.returncode == 1
    assert f"layout version {LAYOUT_VERSION + 1}" in shown.stderr


def test_a_home_serves_one_feed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    feed = {"name": "simulated", "url": "", "simulated": True}
    (home / "home.json").write_text(json.dumps({"layout": LAYOUT_VERSION, "feed": feed, "ports": {}}))
    shown = velib("up", "--feed", "live", "--home", str(home), home=tmp_path)
    assert shown.returncode == 1
    assert "one home serves one feed" in shown.stderr


def test_the_status_of_a_home_that_does_not_run_says_what_is_down(tmp_path: Path) -> None:
    shown = velib("status", "--json", home=tmp_path)
    assert shown.returncode == 1
    status = json.loads(shown.stdout)
    assert not any(part["up"] for part in status["parts"])
    assert status["problems"]


def test_simulated_days_are_written_as_recordings(tmp_path: Path) -> None:
    into = tmp_path / "days"
    shown = velib("simulate", "--days", "1", "--every", "3600", "--stations", "20", "--into", str(into), home=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert len(list(into.glob("*.json.gz"))) == 24


def test_a_home_of_one_city_refuses_another_and_is_moved_by_a_command(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    brussels, lyon = (f"https://feeds.example/contracts/{city}/gbfs/gbfs.json" for city in ("bruxelles", "lyon"))
    feed = {"name": "feeds_example", "url": brussels}
    (home / "home.json").write_text(json.dumps({"layout": LAYOUT_VERSION, "feed": feed, "ports": {}}))
    refused = velib("up", "--feed", lyon, "--home", str(home), home=tmp_path)
    assert refused.returncode == 1
    assert "lyon" in refused.stderr
    moved = velib("feed-url", f"{lyon}?key=s3cret", "--home", str(home), home=tmp_path)
    assert moved.returncode == 0, moved.stderr
    told = velib("feed-url", "--home", str(home), "--feed", lyon, home=tmp_path)
    assert told.stdout == f"feeds_example: {lyon}?key=***\n"
