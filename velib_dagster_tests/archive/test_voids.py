"""Spells of a clock that was ahead: gone from the archive, whenever it hears of them, and no real one with them."""

from datetime import timedelta
from pathlib import Path

import pytest

from velib_dagster.archive import replace as replaces
from velib_dagster.archive.commit import read_commit
from velib_dagster.archive.reader import archived_through, read_spells
from velib_dagster.archive.replace import REMOVED_FOLDER
from velib_dagster.archive.writer import Archived, archive_topic
from velib_dagster.events.records import Spell, Void
from velib_dagster_tests.archive.parts import START, TopicInMemory, many

EACH = 90
AHEAD = [timedelta(minutes=40), timedelta(days=1), timedelta(days=3650)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


class Chain:
    """Ten minutes of real spells, three of a clock that is ahead, and real ones from there on, up to that time too."""

    def __init__(self, ahead: timedelta) -> None:
        healed = START + timedelta(minutes=10)
        self.before = many(300)
        self.wrong = many(EACH, healed + ahead)
        self.behind = many(300, healed)
        self.again = many(300, healed + ahead)
        self.real = [*self.before, *self.behind, *self.again]
        at = self.topic(len(self.before) + EACH).end
        self.void = Void(after=healed, until=healed + ahead + timedelta(minutes=3), spells_below=at)

    def topic(self, count: int | None = None) -> TopicInMemory:
        spells: list[Spell] = [*self.before, *self.wrong, *self.behind, *self.again]
        return TopicInMemory(spells[:count])


def archive(folder: Path, topic: TopicInMemory, *voids: Void) -> Archived:
    return archive_topic(folder, topic, "UTC", voids=voids)


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
@pytest.mark.parametrize("first", [0, 300, 330, 390, 420, 690, 990])
def test_the_archive_has_what_an_undisturbed_clock_would_have_given(
    folder: Path, tmp_path: Path, ahead: timedelta, first: int
) -> None:
    """`first` records were archived before the archive heard of it; 0: it is a new one."""
    chain = Chain(ahead)
    if first:
        archive(folder, chain.topic(first))
    archive(folder, chain.topic(), chain.void)
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    archive_topic(undisturbed, TopicInMemory(chain.real), "UTC")
    assert {p.name: p.read_bytes() for p in folder.glob("*.csv")} == {
        p.name: p.read_bytes() for p in undisturbed.glob("*.csv")
    }
    assert list(read_spells(folder)) == list(read_spells(undisturbed))
    assert archived_through(folder) == archived_through(undisturbed)
    assert archive(folder, chain.topic(), chain.void).rows == 0


def test_through_goes_back_and_the_rows_are_kept_aside(folder: Path) -> None:
    chain = Chain(timedelta(days=1))
    archive(folder, chain.topic(390))
    assert archived_through(folder) == START + timedelta(days=1, minutes=13)
    archive(folder, chain.topic(390), chain.void)
    assert archived_through(folder) == START + timedelta(minutes=10)
    assert [day.isoformat() for day in read_commit(folder).files] == ["2024-11-07"]  # type: ignore[union-attr]
    archive(folder, chain.topic(390), chain.void)
    assert [path.name for path in folder.glob("*.csv")] == ["2024-11-07.csv"]
    removed = folder / REMOVED_FOLDER / "2024-11-08.csv"
    assert len(removed.read_text().splitlines()) == EACH + 1


def test_void_spells_that_their_poll_sent_twice_cost_no_real_one(folder: Path) -> None:
    chain = Chain(timedelta(days=1))
    sent = [(spell, "20241108T081300Z-0") for spell in chain.wrong]
    real = [(spell, "a20241108T081300Z-0") for spell in chain.again]
    records = [*((spell, "20241107T080900Z-0") for spell in chain.before), *sent, *sent, *real]
    topic = TopicInMemory([spell for spell, _ in records], polls=[poll for _, poll in records])
    below = next(record.offset for record in topic.records if record.told.poll == real[0][1])
    archive(folder, topic)
    archive(folder, topic, Void(after=chain.void.after, until=chain.void.until, spells_below=below))
    assert list(read_spells(folder)) == [*chain.before, *chain.again]


class _KilledError(BaseException):
    pass


@pytest.mark.parametrize("name", ["append", "sync_file", "write_commit", "finish_replacing"])
@pytest.mark.parametrize("ahead", AHEAD[:2], ids=str)
def test_a_kill_on_the_way_takes_no_real_spell(
    folder: Path, name: str, ahead: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(ahead)
    archive(folder, chain.topic())

    def killed(*_: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(replaces, name, killed)
        with pytest.raises(_KilledError):
            archive(folder, chain.topic(), chain.void)
    archive(folder, chain.topic(), chain.void)
    assert sorted(read_spells(folder), key=repr) == sorted(chain.real, key=repr)
