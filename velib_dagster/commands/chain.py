"""`velib poll`, `produce`, `stream`, `archive`, `backfill`: data through the chain, a step alone or all of it."""

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from velib_dagster.commands.shared import ChosenName, FeedName, Home, console, each, errors, say
from velib_dagster.settings import CREDIT, Settings, VelibError
from velib_dagster.stopping import asks_to_stop

LATE_RECORDINGS: Final = 3
"""Exit status of a backfill that had recordings older than what is published."""


def poll(
    standby: Annotated[
        bool, typer.Option("--standby", help="Keep running, and poll only when no snapshot is newer than 90 s.")
    ] = False,
    cut: Annotated[
        bool, typer.Option("--cut", help="With --standby: when stopped, end the running spells at the last poll.")
    ] = False,
    feed: FeedName = None,
    home: Home = None,
) -> None:
    """Fetch the feed once and keep the answer verbatim; nothing is sent."""
    from velib_dagster.feed.poll import poll_once

    if cut and not standby:
        raise VelibError("--cut stands with --standby: a single poll stops nothing")
    settings = Settings.load(home, feed)
    if standby:
        from velib_dagster.runtime.standby import stand_by

        with asks_to_stop() as stop:
            stand_by(settings, stop)
        if cut:
            from velib_dagster.events.producer import cut_running_spells

            console.print(f"{cut_running_spells(settings)} running spells cut at the last poll", highlight=False)
        return
    snapshot = poll_once(settings)
    console.print(f"{snapshot.name}  {snapshot.error or 'kept'}", highlight=False)
    raise typer.Exit(0 if snapshot.error is None else 1)


def produce(
    every: Annotated[int | None, typer.Option(help="Seconds between polls. Default: the feed's.", min=1)] = None,
    once: Annotated[bool, typer.Option("--once", help="One poll, then end.")] = False,
    feed: FeedName = None,
    home: Home = None,
) -> None:
    """Fetch, keep and send to Kafka each minute, without Dagster."""
    from velib_dagster.events.producer import publish
    from velib_dagster.events.records import PollRecord
    from velib_dagster.feed.poll import poll_once
    from velib_dagster.store.terminal import plain

    settings = Settings.load(home, feed)

    def show(record: PollRecord) -> None:
        words = (
            f"{record.time:%Y-%m-%d %H:%M:%SZ}  {record.kind}  {record.changed} changed, {record.unchanged} unchanged, "
            f"{record.spells} spells{'  ' + record.reason if record.reason else ''}"
        )
        console.print(plain(words), highlight=False)

    def one() -> bool:
        snapshot = poll_once(settings)
        published = publish(settings, on_poll=show)
        if published.fenced:
            console.print("a newer producer of this feed has taken over: this one ends")
            raise typer.Exit(0)
        return snapshot.error is None

    each(every or settings.feed.every_seconds, once, one)


def stream(home: Home = None, feed: FeedName = None) -> None:
    """Run the Spark Structured Streaming job: Kafka to live windows in PostgreSQL."""
    from velib_dagster.runtime.jars import spark_jars
    from velib_dagster.runtime.java import java_home
    from velib_dagster.streaming.job import run

    os.environ["JAVA_HOME"] = str(java_home())
    run(Settings.load(home, feed), jars=spark_jars())


def archive(
    follow: Annotated[bool, typer.Option("--follow", help="Keep archiving until Ctrl-C.")] = False,
    accept_missing: Annotated[
        bool,
        typer.Option("--accept-missing", help="Go on behind records that Kafka deleted before they were archived."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Name rows that are archived or counted in live windows twice; write none.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take such rows out of the archive, and count their windows anew.")
    ] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """Write finished spells from Kafka into the CSV archive; prints the path of each file written."""
    from velib_dagster.archive.writer import archive_once
    from velib_dagster.archive.writer import follow as follow_archive

    settings = Settings.load(home, feed)
    if check or repair:
        _check_archive(settings, repair=repair)
        return

    def show(paths: tuple[Path, ...]) -> None:
        for path in paths:
            typer.echo(path)

    if follow:
        with asks_to_stop() as stop:
            follow_archive(settings, stop, lambda archived: show(archived.files))
        return
    archived = archive_once(settings, accept_missing=accept_missing)
    show(archived.files)
    if archived.through is None:
        errors.print("no finished spell yet: the first come with the second poll")


def _check_archive(settings: Settings, *, repair: bool) -> None:
    """Name the rows too many, and take them out where asked to; ends with status 1 while there are any."""
    from velib_dagster.archive.doubled import doubled_rows, remove_doubled_rows
    from velib_dagster.runtime.repair import in_words, over_counted_windows, recount_windows
    from velib_dagster.runtime.services import readable_store

    rows = remove_doubled_rows(settings.archive) if repair else list(doubled_rows(settings.archive))
    with readable_store(settings, errors) as running:
        windows = over_counted_windows(running)
        console.print(in_words(rows, windows, repaired=repair), highlight=False, markup=False, soft_wrap=True)
        if repair:
            recount_windows(running, windows.wrong)
    if not repair and (rows or windows.wrong):
        console.print("velib archive --repair takes them out", highlight=False)
        raise typer.Exit(1)


def set_aside(
    accept: Annotated[
        bool,
        typer.Option("--accept", help="Let the chain go on behind all that waits now, readable or not."),
    ] = False,
    home: Home = None,
    feed: FeedName = None,
) -> None:
    """List what could not be processed or read and was set aside: polls, and records in Kafka.

    The raw snapshots stay as long as all do, the bytes of records as long as Kafka and the archive keep them.
    """
    from velib_dagster.archive.unreadable import records_set_aside
    from velib_dagster.events.accepted import Accepted, write_accepted
    from velib_dagster.events.memory import unreadable_records
    from velib_dagster.feed.snapshots import SnapshotStore
    from velib_dagster.store.connect import connect
    from velib_dagster.store.reads import polls_set_aside
    from velib_dagster.streaming.position import QUERIES, ends

    settings = Settings.load(home, feed)
    if accept:
        newest = SnapshotStore(settings.raw).newest() or ""
        offsets = {QUERIES[query]: offset for query, offset in ends(settings).items()}
        write_accepted(settings, Accepted(snapshot=newest, offsets=offsets))
        told = ", ".join(f"{settings.topic(topic)} below offset {offset}" for topic, offset in offsets.items())
        say(f"what can't be read is passed over, however many in a row: snapshots up to {newest or '(none)'}, {told}")
        return
    with connect(settings) as connection:
        polls = polls_set_aside(connection)
    for poll in polls:
        typer.echo(f"{poll.time:%Y-%m-%d %H:%M:%SZ}  {poll.snapshot}  {poll.reason}")
    records = [
        *records_set_aside(settings.archive),
        *unreadable_records(settings, "states"),
        *unreadable_records(settings, "polls"),
    ]
    for record in records:
        typer.echo(f"{record.topic}  offset {record.offset}  {record.reason}")
    if not polls and not records:
        say("nothing was set aside")


def backfill(
    folder: Annotated[Path, typer.Argument(help="Folder with recorded answers: .json, .json.gz, .tar.xz.")],
    statistics: Annotated[bool, typer.Option(help="Compute the statistics of the days touched afterwards.")] = True,
    home: Home = None,
    name: ChosenName = None,
) -> None:
    """Send recorded answers through the very same path as the live feed, then wait until all stores hold them."""
    from velib_dagster.runtime.backfill import backfill_recordings, check_interval
    from velib_dagster.runtime.due_statistics import compute_statistics
    from velib_dagster.runtime.services import looked_after_services

    chosen = home or os.environ.get("VELIB_HOME")
    settings = Settings.load(home, None if chosen else "recordings", name)
    from velib_dagster.feed.recordings import list_recordings

    left_out: list[str] = []
    recordings = list_recordings(folder, settings.feed.zone_info, left_out)
    check_interval(recordings, settings.feed.max_hold_seconds)  # what can't be used must not start services first
    if left_out:
        say(f"{len(left_out)} files have no time in their names and are left out: {', '.join(sorted(left_out)[:5])}")
    started = time.monotonic()

    names = ("kafka", "postgres", "streaming")
    with looked_after_services(settings, names, console) as (running, look_after):
        ready = time.monotonic()
        done = look_after(lambda: backfill_recordings(running, folder, console))
        seconds = time.monotonic() - ready
        days = compute_statistics(running, console) if statistics else 0
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(done.kinds.items()))
    if not done.fetched and not done.kinds:
        console.print(f"nothing new: all {done.recordings - done.late} recordings were published before")
    else:
        console.print(
            f"{done.fetched} recordings in {seconds:.0f} s (services up in {ready - started:.0f} s): {kinds}; "
            f"{done.spells} spells in {settings.archive}"
        )
        if days:
            console.print(f"statistics of {days} days are in PostgreSQL: velib stats", highlight=False)
        console.print(CREDIT, style="dim")
    if done.late:
        say(
            f"{done.late} recordings are older than the last published poll and were never published: spells are sent "
            "in order, so they can't be put in between. Use a new --home for the whole folder."
        )
        raise typer.Exit(LATE_RECORDINGS)
