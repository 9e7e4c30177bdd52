"""A machine whose clocks can be set, polling a feed whose headers can be anything, without any HTTP."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from velib_dagster.feed.answers import Answer, Fetched, Snapshot
from velib_dagster.feed.clocks import Boot, reading_of
from velib_dagster.feed.poll_time import Dated, offset_seconds, provisional_time, time_of_poll
from velib_dagster.feed.snapshots import SnapshotStore

EIGHT = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def http(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


@dataclass
class Machine:
    """True time goes on by `wait`; each poll says how far local clock and Date are off (None: no Date)."""

    time: datetime = EIGHT
    boot_id: str | None = "first"
    started: datetime = EIGHT - timedelta(hours=5)
    told: list[Fetched] = field(default_factory=list)
    store: SnapshotStore | None = None
    kept: list[Snapshot] = field(default_factory=list)

    @classmethod
    def keeping(cls, folder: Path) -> "Machine":
        return cls(store=SnapshotStore(folder))

    def wait(self, **how: float) -> None:
        self.time += timedelta(**how)

    def restart(self, boot_id: str | None = "second") -> None:
        self.boot_id, self.started = boot_id, self.time

    def poll(
        self,
        *,
        local: timedelta = timedelta(0),
        date: timedelta | str | None = timedelta(0),
        body: bytes = b"[]",
        headers: dict[str, str] | None = None,
    ) -> Fetched:
        said = date if isinstance(date, str) else http(self.time + date) if date is not None else None
        answer = Answer(
            role="answer",
            url="http://feed/",
            status=200,
            headers={**(headers or {}), **({"date": said} if said is not None else {})},
            body=body,
        )
        boot = Boot(self.boot_id, (self.time - self.started).total_seconds()) if self.boot_id else None
        reading = reading_of(answer, self.time + local, boot)
        told = time_of_poll(reading, self.before)
        fetched = Fetched(
            poll_time=provisional_time(told, self.before),
            fetched_at=reading.local,
            answers=(answer,),
            clock_offset_seconds=offset_seconds(reading),
            reading=reading,
            told=told,
        )
        self.told.append(fetched)
        if self.store is not None:
            self.kept.append(self.store.add(fetched))
        return fetched

    @property
    def before(self) -> list[Dated]:
        return self.store.history() if self.store is not None else [one.dated for one in self.told]
