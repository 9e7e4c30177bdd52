"""The writer over a topic in memory: exactly once, cut back, refusals in words, days of the feed's time zone."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from velib_dagster.archive import commit as commit_module
from velib_dagster.archive.commit import only_writer, read_commit
from velib_dagster.archive.errors import ArchiveError, ArchiveHeldError
from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.rows import HEADER_LINE
from velib_dagster.archive.source import Record
from velib_dagster.archive.writer import archive_topic
from velib_dagster_tests.archive.parts import START, TopicInMemory, many, spell

PARIS = "Europe/Paris"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


class CutOffError(Exception):
    """Stands for the moment at which a process ends."""


class TopicThatEndsTheProcess(TopicInMemory):
    """Hands out so many batches and then fails, in the middle of a step."""

    def __init__(self, *arguments: Any, batches: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batches = batches

    def read(self, first: int, end: int) -> Iterator[list[Record]]:
        for number, batch in enumerate(super().read(first, end)):
            if number == self.batches:
                raise CutOffError
            yield batch


def test_all_spells_are_archived_in_order_and_reported(folder: Path) -> None:
    spells = many(1000)
    topic = TopicInMemory(spells)
    archived = archive_topic(folder, topic, PARIS)
    assert archived.files == (folder / "2024-11-07.csv",)
    assert (archived.rows, archived.next_offset, archived.lag) == (1000, topic.end, 0)
    assert archived.through == max(one.until for one in spells)
    assert list(read_spells(folder)) == spells


def test_a_second_run_finds_nothing_new_and_leaves_the_bytes(folder: Path) -> None:
    topic = TopicInMemory(many(500))
    archive_topic(folder, topic, PARIS)
    before = contents(folder)
    archived = archive_topic(folder, topic, PARIS)
    assert (archived.rows, archived.files) == (0, ())
    assert archived.through is not None
    assert contents(folder) == before


@pytest.mark.parametrize("batches", range(1, 10))
def test_a_run_cut_off_anywhere_and_then_finished_gives_the_same_bytes(tmp_path: Path, batches: int) -> None:
    spells = many(1000, datetime(2024, 11, 6, 22, 50, tzinfo=UTC))
    for name in ("undisturbed", "disturbed"):
        (tmp_path / name).mkdir()
    archive_topic(tmp_path / "undisturbed", TopicInMemory(spells), PARIS)
    with pytest.raises(CutOffError):
        archive_topic(tmp_path / "disturbed", TopicThatEndsTheProcess(spells, batches=batches), PARIS, step_rows=250)
    archive_topic(tmp_path / "disturbed", TopicInMemory(spells), PARIS, step_rows=250)
    assert contents(tmp_path / "disturbed") == contents(tmp_path / "undisturbed")
    assert len(contents(tmp_path / "disturbed")) == 2


def test_many_small_runs_give_the_bytes_of_one(tmp_path: Path) -> None:
    spells = many(900, datetime(2024, 11, 6, 22, 50, tzinfo=UTC))
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    archive_topic(tmp_path / "one", TopicInMemory(spells), PARIS)
    for count in range(0, 901, 90):
        archive_topic(tmp_path / "many", TopicInMemory(spells[:count]), PARIS)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_a_longer_file_is_cut_back_and_a_new_uncommitted_one_removed(folder: Path) -> None:
    topic = TopicInMemory(many(100))
    archive_topic(folder, topic, PARIS)
    before = contents(folder)
    with (folder / "2024-11-07.csv").open("ab") as file:
        file.write(b"21310,half a ro")
    (folder / "2024-11-08.csv").write_bytes(HEADER_LINE + b"1,rest")
    (folder / "2024-11-09.csv").write_bytes(b"")
    archive_topic(folder, topic, PARIS)
    assert contents(folder) == before


def test_a_file_of_somebody_else_named_like_a_day_is_not_removed(folder: Path) -> None:
    topic = TopicInMemory(many(10))
    archive_topic(folder, topic, PARIS)
    foreign = folder / "2020-01-01.csv"
    foreign.write_text("a;b;c\n")
    with pytest.raises(ArchiveError, match=r"2020-01-01\.csv is not a file of this archive.*move it elsewhere"):
        archive_topic(folder, topic, PARIS)
    assert foreign.exists()


def test_a_shorter_or_missing_file_is_refused_and_nothing_changed(folder: Path) -> None:
    topic = TopicInMemory(many(100))
    archive_topic(folder, topic, PARIS)
    path = folder / "2024-11-07.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ArchiveError, match=r"2024-11-07\.csv has \d+ bytes, and \d+ were archived.*backup"):
        archive_topic(folder, topic, PARIS)
    assert path.read_bytes() == whole[:-1]
    path.unlink()
    with pytest.raises(ArchiveError, match=r"is missing, and 100 archived rows with it"):
        archive_topic(folder, topic, PARIS)


def test_a_lost_or_damaged_commit_file_is_refused(folder: Path) -> None:
    topic = TopicInMemory(many(100))
    archive_topic(folder, topic, PARIS)
    path = folder / "commit.json"
    text = path.read_text()
    path.write_text(text[:40])
    with pytest.raises(ArchiveError, match=r"commit\.json is damaged"):
        archive_topic(folder, topic, PARIS)
    path.unlink()
    before = contents(folder)
    with pytest.raises(ArchiveError, match=r"commit\.json is missing, but .* holds 1 day files"):
        archive_topic(folder, topic, PARIS)
    assert contents(folder) == before


def test_another_kafka_is_refused_in_words_before_anything_is_cut(folder: Path) -> None:
    archive_topic(folder, TopicInMemory(many(100)), PARIS)
    with (folder / "2024-11-07.csv").open("ab") as file:
        file.write(b"rest")
    before = contents(folder)
    with pytest.raises(ArchiveError, match=r"cluster cluster-a, and Kafka now has .* cluster-b.*VELIB_KAFKA"):
        archive_topic(folder, TopicInMemory(many(200), cluster="cluster-b"), PARIS)
    assert contents(folder) == before


def test_another_time_zone_is_refused(folder: Path) -> None:
    topic = TopicInMemory(many(10))
    archive_topic(folder, topic, PARIS)
    with pytest.raises(ArchiveError, match=r"days of Europe/Paris, and the feed's time zone is now UTC"):
        archive_topic(folder, topic, "UTC")


def test_records_deleted_before_they_were_archived_are_counted_in_the_error(folder: Path) -> None:
    spells = many(300)
    archive_topic(folder, TopicInMemory(spells[:100], marked=1000), PARIS)
    later = TopicInMemory(spells, marked=1000, first=150)
    with pytest.raises(ArchiveError, match=r"50 offsets of feed\.spells \(100 to 149\) were deleted by retention"):
        archive_topic(folder, later, PARIS)
    assert len(list(read_spells(folder))) == 100
    archived = archive_topic(folder, later, PARIS, accept_missing=True)
    assert archived.rows == 150
    assert list(read_spells(folder)) == spells[:100] + spells[150:]


def test_a_topic_that_ends_before_the_archive_is_refused(folder: Path) -> None:
    archive_topic(folder, TopicInMemory(many(100)), PARIS)
    with pytest.raises(ArchiveError, match="Kafka has lost its newest records"):
        archive_topic(folder, TopicInMemory(many(50)), PARIS)


@pytest.mark.parametrize(("day", "hours"), [(date(2024, 10, 27), 25), (date(2024, 3, 31), 23), (date(2024, 11, 7), 24)])
def test_a_day_file_holds_the_paris_day_however_long_it_is(folder: Path, day: date, hours: int) -> None:
    middle = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    spells = [spell(middle + timedelta(minutes=10 * n), 600) for n in range(-180, 180)]
    archive_topic(folder, TopicInMemory(spells), PARIS)
    assert len(list(read_spells(folder, (day, day)))) == 6 * hours


def test_a_second_writer_is_told_who_holds_the_archive(folder: Path) -> None:
    program = (
        "import sys, pathlib, time\n"
        "from velib_dagster.archive.commit import only_writer\n"
        "with only_writer(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        words = rf"is being written by process {holder.pid} since 20"
        with pytest.raises(ArchiveHeldError, match=words), only_writer(folder):
            pass
        holder.kill()
    with only_writer(folder):
        assert str(os.getpid()) in (folder / ".lock").read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid() != 0:
        pytest.skip("only root can make a small disk")
    command = [mount, "-t", "tmpfs", "-o", "size=300k", "tmpfs", place]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run([umount, place], check=True)


def test_on_a_disk_that_is_full_nothing_committed_is_lost_and_space_makes_it_whole(
    small_disk: Path, folder: Path
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    archive = small_disk / "archive"
    archive.mkdir()
    spells = many(1500)
    words = r"2024-11-07\.csv: the disk is full: free some space and run it again\. Nothing committed is lost"
    for _ in range(2):
        with pytest.raises(ArchiveError, match=words):
            archive_topic(archive, TopicInMemory(spells), PARIS, step_rows=300)
    assert list(read_spells(archive)) == spells[: len(list(read_spells(archive)))]
    assert len(list(read_spells(archive))) >= 300
    ballast.unlink()
    archive_topic(archive, TopicInMemory(spells), PARIS)
    archive_topic(folder, TopicInMemory(spells), PARIS)
    assert contents(archive) == contents(folder)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ArchiveError, match=r"opening .*archive/\.lock: "), only_writer(tmp_path / "home" / "archive"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_said(folder: Path) -> None:
    folder.chmod(0o500)
    with pytest.raises(ArchiveError, match="no permission to write"), only_writer(folder):
        pass


def test_a_full_disk_is_said_and_the_next_run_makes_it_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spells = many(1000)
    archive_topic(folder, TopicInMemory(spells[:300]), PARIS)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(commit_module.os, "fsync", full)
        with pytest.raises(ArchiveError, match=r"2024-11-07\.csv: the disk is full: free some space"):
            archive_topic(folder, TopicInMemory(spells), PARIS)
    assert list(read_spells(folder)) == spells[:300]
    archive_topic(folder, TopicInMemory(spells), PARIS)
    (tmp_path / "undisturbed").mkdir()
    archive_topic(tmp_path / "undisturbed", TopicInMemory(spells), PARIS)
    assert contents(folder) == contents(tmp_path / "undisturbed")


def test_the_commit_file_says_what_the_files_hold(folder: Path) -> None:
    archive_topic(folder, TopicInMemory(many(10)), PARIS)
    content = json.loads((folder / "commit.json").read_text())
    size = (folder / "2024-11-07.csv").stat().st_size
    assert content["files"] == {"2024-11-07": {"bytes": size, "rows": 10}}
    commit = read_commit(folder)
    assert commit is not None
    assert commit.through == START + timedelta(minutes=1)
