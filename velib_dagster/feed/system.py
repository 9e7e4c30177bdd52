"""The documents of one poll: an answer that stands alone, or those that a GBFS system names, each as seldom as it may.

Knows which documents belong to a poll and in what order; asks through `client.py`, keeps through `documents.py`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import urljoin

import msgspec

from velib_dagster.feed.answers import (
    ANSWER,
    STATION_INFORMATION,
    STATION_STATUS,
    SYSTEM_REGIONS,
    VEHICLE_TYPES,
    Answer,
)
from velib_dagster.feed.decode import ids_of
from velib_dagster.feed.discovery import discovered
from velib_dagster.feed.documents import AGAIN_AFTER, Document, Documents
from velib_dagster.feed.errors import FeedError, PermanentFeedError, QuotaSpentError, TransientFeedError

DISCOVERY: Final = "discovery"
"""Under what name the discovery document is kept."""

Get = Callable[[str, str], Answer]
"""(address, role) → one good answer, else a FeedError."""


def fetch_system(url: str, get: Get, documents: Documents, now: datetime, answers: list[Answer]) -> list[str]:
    """Append the answers of one poll; what came before a failure stays in the list.

    A document beside the two (vehicle types, regions) that can't be had costs nothing but what it would say; what went
    wrong with it is returned, in words.

    Raises:
        FeedError: the answer, the status or the information can't be had.
    """
    found = _discovery(url, get, documents, now)
    urls = addresses(found.answer)
    if STATION_STATUS not in urls:
        answers.append(found.answer)
        return []
    try:
        status = get(urls[STATION_STATUS], STATION_STATUS)
    except FeedError as error:
        # the system may have moved its documents
        if isinstance(error, PermanentFeedError) or now - found.kept_at >= AGAIN_AFTER:
            documents.drop(DISCOVERY)
        raise
    answers.append(status)
    failed: FeedError | None = None
    errors: list[str] = []
    if STATION_INFORMATION in urls:
        try:
            answers.append(_information(url, urls[STATION_INFORMATION], status, get, documents, now))
        except QuotaSpentError:
            raise
        except FeedError as error:
            failed = error
    for role in (VEHICLE_TYPES, SYSTEM_REGIONS):
        if role in urls:
            trouble = _beside(role, url, urls[role], get, documents, now, answers)
            errors += [trouble] if trouble else []
    if failed is not None:
        if now - found.kept_at >= AGAIN_AFTER:
            documents.drop(DISCOVERY)
        raise failed
    return errors


def document_url(documents: Documents, feed: str, role: str) -> str | None:
    """Where another document of the system is, by the discovery document kept, None where that names none."""
    kept = documents.find(DISCOVERY, feed)
    try:
        return addresses(kept.answer).get(role) if kept else None
    except PermanentFeedError:
        return None


def addresses(discovery: Answer) -> dict[str, str]:
    """Where the documents that a discovery document names are, joined with the address that answered.

    Raises:
        PermanentFeedError: the status's is no address.
    """
    urls: dict[str, str] = {}
    for role, named in (discovered(discovery.body, discovery.headers) or {}).items():
        try:
            urls[role] = urljoin(discovery.url, named)
        except ValueError as error:
            if role == STATION_STATUS:
                msg = f"{discovery.url} names a document that can't be asked: {error}"
                raise PermanentFeedError(msg, discovery) from error
    return urls


def _discovery(url: str, get: Get, documents: Documents, now: datetime) -> Document:
    """The discovery document, or the answer that stands alone and is asked for at every poll."""
    kept = documents.find(DISCOVERY, url)
    if kept is not None and kept.is_fresh(now):
        return kept
    found = Document(feed=url, kept_at=now, answer=get(url, ANSWER))
    if STATION_STATUS in addresses(found.answer):
        documents.keep(DISCOVERY, found)
    return found


def _information(feed: str, url: str, status: Answer, get: Get, documents: Documents, now: datetime) -> Answer:
    """The kept station_information, asked for anew where it is old or the status names stations that it lacks."""
    kept = documents.find(STATION_INFORMATION, feed)
    if kept is not None and not kept.is_fresh(now):
        kept = None
    reported = ids_of(status)
    if kept is not None and not kept.is_worth_asking_for(reported - ids_of(kept.answer), now):
        return kept.answer
    try:
        answer = get(url, STATION_INFORMATION)
    except (PermanentFeedError, TransientFeedError):
        if kept is None:
            raise
        answer = kept.answer
    if not answer.truncated:
        lacking = dict.fromkeys(reported - ids_of(answer), now)
        kept_at = kept.kept_at if kept is not None and answer is kept.answer else now
        documents.keep(STATION_INFORMATION, Document(feed=feed, kept_at=kept_at, answer=answer, missing=lacking))
    return answer


def _beside(
    role: str, feed: str, url: str, get: Get, documents: Documents, now: datetime, answers: list[Answer]
) -> str | None:
    """Append a document beside the two, kept or asked for anew; an old one stands in where it can't be had."""
    kept = documents.find(role, feed)
    if kept is not None and kept.is_fresh(now):
        if kept.answer.status < 400:
            answers.append(kept.answer)
        return None
    try:
        answer = get(url, role)
    except QuotaSpentError:
        raise
    except (PermanentFeedError, TransientFeedError) as error:
        if kept is not None and kept.answer.status < 400:
            documents.keep(role, msgspec.structs.replace(kept, kept_at=now))
            answers.append(kept.answer)
        elif error.answer is not None:
            documents.keep(role, Document(feed=feed, kept_at=now, answer=error.answer))
        return str(error)
    if not answer.truncated:
        documents.keep(role, Document(feed=feed, kept_at=now, answer=answer))
        answers.append(answer)
    return None
