"""Runs the cases of `../shared/feed-cases`: what they put in, through poll, raw store, decoding and the pure core.

A small interpreter of the format that the folder's README describes; what it can't run it says by raising.
"""

import base64
import copy
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from typer.testing import CliRunner

from velib_dagster.cli import app
from velib_dagster.events.advance import advance
from velib_dagster.events.known import Memory, Poll, Rules
from velib_dagster.feed.answers import Answer, Snapshot
from velib_dagster.feed.client import FeedClient
from velib_dagster.feed.decode import decode, decode_snapshot
from velib_dagster.feed.document_age import document_age_of
from velib_dagster.feed.documents import Documents
from velib_dagster.feed.recordings import RecordingReader, list_recordings
from velib_dagster.feed.snapshots import SnapshotStore
from velib_dagster.settings import Feed
from velib_dagster_tests.feed.local_feed import LocalFeed, Reply

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "feed-cases"
DOCUMENTS = ("station_status", "station_information")


@dataclass(frozen=True)
class Case:
    """One case, or one variant of it, with its own right value; `number` is the file's."""

    number: str
    name: str
    input: dict[str, Any]
    right: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.number} {self.name}".strip()


@dataclass
class Seen:
    """What the chain made of a case."""

    records: list[Any]
    states: dict[str, Any]
    requests: dict[str, int]
    quota_reset: datetime | None
    check: tuple[int, str]


def cases() -> list[Case]:
    """All cases, each variant on its own, those without variants as one."""
    found = []
    for path in sorted(FOLDER.glob("[0-9]*.json")):
        content = json.loads(path.read_bytes())
        variants = content["input"].get("variants")
        if not variants:
            found.append(Case(content["id"], "", content["input"], content["right"]))
        for variant in variants or []:
            right = content["right"]
            own = {**right.get("every_variant", {}), **right.get("variants", {}).get(variant["name"], {})}
            common = {key: value for key, value in right.items() if key not in {"variants", "every_variant", "note"}}
            found.append(Case(content["id"], variant["name"], applied(content["input"], variant), common | own))
    return found


def applied(given: dict[str, Any], variant: dict[str, Any]) -> dict[str, Any]:
    """The input of a variant."""
    made = copy.deepcopy({key: value for key, value in given.items() if key != "variants"})
    for key in ("feed", "http", "polls", "files"):
        if key in variant:
            made[key] = variant[key]
    for row in made.get(variant.get("every_row_of", ""), {}).get("data", {}).get("stations", []):
        row.update(variant.get("set", {}))
        for key in variant.get("drop", []):
            row.pop(key, None)
    return made


def run(case: Case, home: Path) -> Seen:
    """Poll the case's feed as often as it says, a minute apart, each poll as a process of its own, and judge it."""
    given = case.input
    start = _time(given.get("poll_time") or given.get("local_clock")) or datetime.now(UTC).replace(microsecond=0)
    store, memory = SnapshotStore(home / "raw"), Memory()
    with LocalFeed({}) as server:
        url = served(given, server)
        records, states, reset = [], {}, None
        for minute in range(given.get("polls", 1)):
            now = start + timedelta(minutes=minute)
            for replies in server.replies.values():
                replies[0] = replace(replies[0], date=_time_of_header(replies[0]) or now)
            client = FeedClient(Feed("case", url), now=lambda now=now: now, documents=Documents(home / "feed"))
            snapshot = store.add(client.poll())
            reset = snapshot.quota_reset
            kept = store.read(snapshot.name)
            step = advance(memory, poll_of(kept), Rules())
            memory = step.memory
            records.append(step.record)
            states |= {state.station_code: state for state in step.states}
        requests: dict[str, int] = {}
        for path in server.asked:
            requests[path.partition("?")[0]] = requests.get(path.partition("?")[0], 0) + 1
        result = CliRunner().invoke(app, ["check-feed", "--feed", url, "--home", str(home / "other")])
    return Seen(records, states, requests, reset, (result.exit_code, result.output.replace("\n", " ")))


def run_recordings(case: Case, folder: Path) -> Seen:
    """Judge the files of a case as `velib backfill` does."""
    for name, content in case.input["files"].items():
        (folder / name).write_text(json.dumps(content))
    recordings = list_recordings(folder, ZoneInfo(case.input["feed_timezone"]))
    reader, memory, records, states = RecordingReader(recordings), Memory(), [], {}
    for number, recording in enumerate(recordings):
        answers = [
            Answer(role=role, url=role, status=200, headers={}, body=body)
            for role, body in reader.read(recording).items()
        ]
        step = advance(memory, Poll(str(number), recording.time, decode(answers)), Rules())
        memory = step.memory
        records.append(step.record)
        states |= {state.station_code: state for state in step.states}
    return Seen(records, states, {}, None, (0, ""))


def poll_of(kept: Snapshot) -> Poll:
    told = kept.told
    return Poll(
        kept.name,
        kept.poll_time,
        decode_snapshot(kept),
        kept.clock_offset_seconds,
        now=told.now if told and told.confirmed else None,
        clock_note=told.note if told else "",
        document=document_age_of(kept.answers),
    )


def differences(right: dict[str, Any], seen: Seen) -> list[str]:
    """What of the right value doesn't hold, in words; empty where all does."""
    if "one_of" in right:
        common = {key: value for key, value in right.items() if key != "one_of"}
        tried = [differences({**common, **one}, seen) for one in right["one_of"]]
        return [] if [] in tried else [f"none of {len(tried)}: {tried}"]
    return [words for key, value in right.items() if key != "note" for words in _differs(key, value, seen)]


def disagreement(seen: Seen) -> str | None:
    """Where `velib check-feed` says another thing than the chain does with a first poll."""
    first = seen.records[0].kind
    if (seen.check[0] == 0) != first.usable:
        return f"check-feed ends with {seen.check[0]}, the chain says {first}: {seen.check[1]}"
    return None


def _differs(key: str, value: Any, seen: Seen) -> list[str]:
    if key in {"kind", "every_poll"}:
        wanted = {"kind": value} if key == "kind" else value
        return [words for record in seen.records for words in _of_record(wanted, record)]
    if key == "kinds":
        pairs = zip(value, seen.records, strict=True)
        return [words for kind, record in pairs for words in _of_record({"kind": kind}, record)]
    if key in {"reports", "rows", "refused"}:
        return _of_record({key: value}, seen.records[-1])
    if key == "stations":
        return _of_states(value, seen)
    if key == "check_feed":
        return _of_check(value, seen.check)
    got: Any = {
        "requests": seen.requests,
        "quota_reset": _text(seen.quota_reset),
        "poll_times": {str(number + 1): _text(record.time) for number, record in enumerate(seen.records)},
    }.get(key, f"{key} isn't understood")
    return [] if got == value else [f"{key} is {got!r}, not {value!r}"]


def _of_states(wanted: dict[str, Any], seen: Seen) -> list[str]:
    found = []
    for code, fields in wanted.items():
        for name, value in fields.items():
            got = _text(getattr(seen.states.get(code), name, "no state"))
            found += [] if _is(got, value) else [f"{code}.{name} is {got!r}, not {value!r}"]
    return found


def _text(value: Any) -> Any:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value


def _of_record(wanted: dict[str, Any], record: Any) -> list[str]:
    found = []
    for key, value in wanted.items():
        got = str(record.kind) if key == "kind" else getattr(record, key)
        if key == "kind" and value == "usable" and got == "repaired":
            continue
        if not _is(got, value):
            found.append(f"{key} is {got!r}, not {value!r} ({record.reason})")
    return found


def _of_check(wanted: dict[str, Any], check: tuple[int, str]) -> list[str]:
    found = [f"check-feed exits with {check[0]}"] if check[0] != wanted.get("exit", check[0]) else []
    found += [
        f"check-feed doesn't say {word!r}: {check[1]}" for word in wanted.get("words", []) if word not in check[1]
    ]
    return found + [f"check-feed says {word!r}" for word in wanted.get("not_words", []) if word in check[1]]


def _is(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and "one_of" in wanted:
        return got in wanted["one_of"]
    if isinstance(wanted, dict) and "at_least" in wanted:
        return bool(got >= wanted["at_least"])
    return bool(got == wanted)


def served(given: dict[str, Any], server: LocalFeed) -> str:
    """Put the input's answers on the server and return the feed's address."""
    for answer in given.get("http", []):
        server.replies[answer["path"]] = [_reply(answer, server.address)]
    roles = [role for role in DOCUMENTS if role in given]
    for role in roles:
        server.replies[f"/{role}.json"] = [Reply(json.dumps(given[role]).encode())]
    if roles:
        feeds = [{"name": role, "url": f"{server.address}/{role}.json"} for role in roles]
        server.replies["/gbfs.json"] = [Reply(json.dumps({"data": {"en": {"feeds": feeds}}}).encode())]
    if not server.replies:
        msg = f"no answers in {sorted(given)}"
        raise NotImplementedError(msg)
    return str(given.get("feed", "{base}/gbfs.json")).replace("{base}", server.address)


def _reply(answer: dict[str, Any], base: str) -> Reply:
    if "body_base64" in answer:
        body = base64.b64decode(answer["body_base64"])
    else:
        text = answer["body_text"] if "body_text" in answer else json.dumps(answer["body"])
        body = text.replace("{base}", base).encode()
    headers = {name: value for name, value in answer.get("headers", {}).items() if name != "Date"}
    if "Date" in answer.get("headers", {}):
        headers["X-Case-Date"] = answer["headers"]["Date"]
    return Reply(body, status=answer["status"], headers=headers)


def _time_of_header(reply: Reply) -> datetime | None:
    text = reply.headers.get("X-Case-Date")
    return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC) if text else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
