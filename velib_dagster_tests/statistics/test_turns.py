"""Two that compute the statistics of one home at a time: the second waits, or is told in words."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from velib_dagster.settings import Feed, Settings
from velib_dagster.statistics.errors import StatisticsBusyError
from velib_dagster.statistics.turns import taken, turn

OTHER = """
import sys
from pathlib import Path
from velib_dagster.settings import Feed, Settings
from velib_dagster.statistics.turns import turn
with turn(Settings(home=Path(sys.argv[1]), feed=Feed("here", "")), 0, print):
    print("holds", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """One that computes the home's statistics, until it is told a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "holds\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, feed=Feed("here", ""))


def test_the_second_waits_until_the_first_has_ended(settings: Settings) -> None:
    with another_process(settings.home) as other:
        told = []

        def waiting(words: str) -> None:
            told.append(words)
            assert other.stdin
            other.stdin.write("end\n")
            other.stdin.flush()

        with turn(settings, 30, waiting) as ours:
            assert ours.settings is settings
            assert other.wait(10) == 0
    (words,) = told
    assert f"computed by another process (process {other.pid} since " in words


def test_the_second_is_told_in_words_when_its_patience_ends(settings: Settings) -> None:
    with another_process(settings.home) as other:
        assert taken(settings) == f"the statistics are being computed by process {other.pid}"
        words = f"process {other.pid} since .* try again when it has ended"
        with pytest.raises(StatisticsBusyError, match=words), turn(settings, 0.1, lambda _: None):
            pytest.fail("two at once")


def test_a_process_that_was_killed_holds_nothing(settings: Settings) -> None:
    with another_process(settings.home) as other:
        other.kill()
        other.wait()
        assert taken(settings) is None
        with turn(settings, 0, pytest.fail):
            pass
    assert taken(settings) is None
