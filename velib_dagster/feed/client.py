"""HTTP to the feed: one poll as one or two verbatim answers, within a budget of time and with the feed's wishes obeyed.

Knows no Dagster, no disk and no row; what an answer means is decided in `decode.py`, which documents of GBFS are asked
for in `system.py`. Called by `poll.py`, `check.py` and the functions of `feed/__init__.py`.
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from importlib import metadata
from typing import Final

import msgspec
import requests
import tenacity
import urllib3

from velib_dagster.feed import quota
from velib_dagster.feed.answers import ANSWER, STATION_STATUS, SYSTEM_INFORMATION, Answer, Fetched
from velib_dagster.feed.bodies import LARGEST_BYTES, undone
from velib_dagster.feed.clocks import Boot, boot_clock, local_now, reading_of
from velib_dagster.feed.decode import timezone_of
from velib_dagster.feed.documents import Documents
from velib_dagster.feed.errors import FeedError, PermanentFeedError, QuotaSpentError, TransientFeedError
from velib_dagster.feed.poll_time import (
    HISTORY,
    Dated,
    believed_now,
    in_range,
    offset_seconds,
    provisional_time,
    time_of_poll,
)
from velib_dagster.feed.session import FeedSession, is_outside
from velib_dagster.feed.system import document_url, fetch_system
from velib_dagster.masking import masked, masked_header
from velib_dagster.settings import Feed

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 20.0
BUDGET_SECONDS: Final = 40.0
"""All requests of one poll with their retries: below a minute with room to spare, so that polls never overlap."""
TRIES: Final = 4
TOO_MANY: Final = 429

_LEAST_SECONDS: Final = 1.0  # a try with less time left can't succeed
_PERMANENT: Final = (
    requests.exceptions.TooManyRedirects,
    ValueError,  # requests' own for addresses that are none, and what urllib raises before it gets there
)


def user_agent() -> str:
    """What the client calls itself."""
    try:
        return f"velib-dagster/{metadata.version('velib-dagster')} (python-requests/{requests.__version__})"
    except metadata.PackageNotFoundError:
        return f"velib-dagster (python-requests/{requests.__version__})"


class FeedClient:
    """Polls one feed; keeps nothing between polls but its connection, its clocks and what GBFS says rarely
    (`documents`).

    `trust_date` takes the answer's Date as it is, however far from the local clock: for recordings that are served
    again. `now` is the local clock and `boot` the machine's boot clock, which no other local clock than its own goes
    with.
    """

    def __init__(
        self,
        feed: Feed,
        session: requests.Session | None = None,
        *,
        trust_date: bool = False,
        now: Callable[[], datetime] = local_now,
        boot: Callable[[], Boot | None] | None = None,
        budget_seconds: float = BUDGET_SECONDS,
        documents: Documents | None = None,
    ) -> None:
        self.feed = feed
        self._session = FeedSession(feed.url, session)
        self._session.headers["User-Agent"] = user_agent()
        self._session.headers["Accept"] = "application/json"
        self._session.headers["Accept-Encoding"] = "gzip, deflate"  # what `bodies.py` undoes
        self._trust_date = trust_date
        self._local = now
        self._boot = boot or (boot_clock if now is local_now else lambda: None)
        self._before: list[Dated] = []
        self._correction = timedelta(0)
        self._budget_seconds = budget_seconds
        self._documents = documents or Documents()

    def poll(self, url: str | None = None, *, before: Sequence[Dated] | None = None) -> Fetched:
        """What the feed answers now; `url` stands for the feed's own, `before` for this client's own earlier polls.

        Never raises for what the feed does: the trouble is in `error`, with the verbatim error answer where one came.
        """
        deadline = time.monotonic() + self._budget_seconds
        earlier = list(self._before if before is None else before)
        started = reading_of(None, self._local(), self._boot())
        self._correction = believed_now(started, earlier) - started.local if earlier else timedelta(0)
        answers: list[Answer] = []
        errors: list[str] = []
        reset: datetime | None = None
        self._session.followed.clear()
        try:
            errors += self._fetch(url or self.feed.url, deadline, answers)
        except FeedError as error:
            errors.append(str(error))
            if error.answer is not None:
                answers.append(error.answer)
            if isinstance(error, QuotaSpentError):
                reset = error.reset
        local = self._local()
        reading = reading_of(answers[0] if answers else None, local, self._boot())
        told = time_of_poll(reading, earlier)
        for answer in answers:
            if answer.truncated:
                errors.append(f"{answer.url}: the connection broke off after {len(answer.body)} bytes")
            if answer.role in {ANSWER, STATION_STATUS} or answer.status == TOO_MANY:  # a kept document tells old limits
                reset = reset or quota.spent_until(answer, told.now)
        date = in_range(reading.date) if self._trust_date else None
        fetched = Fetched(
            poll_time=date or provisional_time(told, earlier),
            fetched_at=local,
            answers=tuple(self._without_keys(answer) for answer in answers),
            error=masked("; ".join(dict.fromkeys(errors)), self.feed.url) or None,
            clock_offset_seconds=None if self._trust_date else offset_seconds(reading),
            quota_reset=reset,
            reading=None if self._trust_date else reading,
            told=None if self._trust_date else told,
            followed=tuple(self._session.followed),
        )
        self._before = [*self._before[-HISTORY:], fetched.dated]
        return fetched

    def get(self, url: str, params: dict[str, str] | None = None) -> Answer:
        """One good answer of any URL of the feed, retried within the budget.

        Raises:
            PermanentFeedError, QuotaSpentError, TransientFeedError: there is none.
        """
        try:
            full = requests.Request("GET", url, params=params).prepare().url or url
        except ValueError as error:
            msg = f"{url} can't be asked: {error}"
            raise PermanentFeedError(msg) from error
        answer = self._get(full, ANSWER, time.monotonic() + self._budget_seconds)
        if answer.truncated:
            msg = f"{full}: the connection broke off after {len(answer.body)} bytes; try again"
            raise TransientFeedError(msg, answer)
        return self._without_keys(answer)

    def _without_keys(self, answer: Answer) -> Answer:
        """The answer as it may be kept and shown: its body is verbatim, its address and headers name no key."""
        headers = {name: masked_header(name, value, self.feed.url) for name, value in answer.headers.items()}
        return msgspec.structs.replace(answer, url=masked(answer.url, self.feed.url), headers=headers)

    def system_timezone(self) -> str | None:
        """The time zone that the GBFS system of the newest poll names, None where it names none or doesn't answer."""
        url = document_url(self._documents, self.feed.url, SYSTEM_INFORMATION)
        if url is None:
            return None
        try:
            return timezone_of(self._get(url, SYSTEM_INFORMATION, time.monotonic() + self._budget_seconds))
        except FeedError:
            return None

    def _fetch(self, url: str, deadline: float, answers: list[Answer]) -> list[str]:
        """Append the answers of one poll; what came before a failure stays in the list. Returns what went wrong."""

        def get(address: str, role: str) -> Answer:
            return self._get(address, role, deadline)

        return fetch_system(url, get, self._documents, self._now(), answers)

    def _get(self, url: str, role: str, deadline: float) -> Answer:
        """One answer with its retries; a break-off that persists gives the truncated answer."""

        def stop(state: tenacity.RetryCallState) -> bool:
            late = time.monotonic() + state.upcoming_sleep + _LEAST_SECONDS > deadline
            return late or state.attempt_number >= TRIES

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientFeedError), wait=_wait, stop=stop, reraise=True
        )
        try:
            return retrying(self._try, url, role, deadline)
        except TransientFeedError as error:
            answer = error.answer
            if answer is not None and answer.truncated and answer.status < 400:
                return answer
            now = self._now()
            if answer is not None and answer.status == TOO_MANY:
                reset = quota.spent_until(answer, now)
                if reset is not None:
                    msg = f"{error}; the quota opens again at {reset:%Y-%m-%d %H:%M:%S} UTC"
                    raise QuotaSpentError(msg, reset, answer) from error
            raise

    def _try(self, url: str, role: str, deadline: float) -> Answer:
        left = deadline - time.monotonic()
        if left < _LEAST_SECONDS:
            msg = f"{url}: no time left for it in this poll"
            raise TransientFeedError(msg)
        try:
            # Proxies and netrc of the environment are for the world outside, not for this machine's own servers.
            self._session.trust_env = is_outside(url)
            with self._session.get(
                url, stream=True, timeout=(min(CONNECT_SECONDS, left), min(READ_SECONDS, left))
            ) as response:
                answer = _read(response, url, role, deadline)
        except _PERMANENT as error:
            msg = f"{url} can't be asked: {error}"
            raise PermanentFeedError(msg) from error
        except requests.RequestException as error:
            msg = f"{url} doesn't answer: {_cause(error)}"
            raise TransientFeedError(msg) from error
        if answer.status == TOO_MANY or answer.status >= 500:
            now = self._now()
            # a server's own failure says nothing about the quota: its rate-limit headers are no time to wait
            again = quota.retry_at(answer, now)
            wait = (again - now).total_seconds() if again is not None else None
            msg = f"{url} answers HTTP {answer.status}"
            raise TransientFeedError(msg, answer, wait)
        if not 200 <= answer.status < 300:
            msg = f"{url} answers HTTP {answer.status}"
            raise PermanentFeedError(msg, answer)
        if answer.truncated:
            msg = f"{url}: the connection broke off after {len(answer.body)} bytes"
            raise TransientFeedError(msg, answer)
        return answer

    def _now(self) -> datetime:
        """What time it is, as far as the polls before tell that the local clock is wrong."""
        return self._local() + self._correction


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds before the next try: what the feed asks for, else doubling from about a second; both with jitter."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TransientFeedError) and error.wait_seconds is not None:
        return max(error.wait_seconds, 0.0) + random.uniform(0, 0.5)  # noqa: S311 - jitter, no secret
    return 2.0 ** (state.attempt_number - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - as above


def _read(response: requests.Response, url: str, role: str, deadline: float) -> Answer:
    """The answer, with as much of the body as came before a break-off, the budget's end or the size limit."""
    body = bytearray()
    truncated = False
    try:
        # read1 returns what is there: read would wait for a full chunk however slowly a server drips.
        while chunk := response.raw.read1(2**16, decode_content=False):
            body += chunk
            if len(body) > LARGEST_BYTES or time.monotonic() > deadline:
                truncated = True
                break
    except (urllib3.exceptions.HTTPError, OSError):
        truncated = True
    headers: dict[str, list[str]] = {}
    for name, value in response.raw.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    joined = {name: ", ".join(values) for name, values in headers.items()}
    plain, whole = undone(bytes(body), joined.get("content-encoding"))
    return Answer(
        role=role,
        url=response.url or url,
        status=response.status_code,
        headers=joined,
        body=plain,
        truncated=truncated or not whole,
    )


def _cause(error: BaseException) -> str:
    """The innermost words of a requests error, whose own text is a nest of class names."""
    found: BaseException = error
    while (inner := getattr(found, "reason", None) or (found.args[0] if found.args else None)) is not None:
        if not isinstance(inner, BaseException):
            break
        found = inner
    return str(found) or type(found).__name__
