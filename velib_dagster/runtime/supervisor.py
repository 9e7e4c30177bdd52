"""Keeps a set of parts running: starts them, says what it waits for, restarts what died, stops all.

It knows parts only as `Part`s; which ones there are, and in what order, is `up.py`'s. Used from the main thread.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console

from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.logs import last_lines, rotate
from velib_dagster.runtime.process import Child, Part, end_leftover, end_session

LONGEST_WAIT_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 120.0
"""A part that has run this long starts again with the shortest wait."""

HOOK_SECONDS: Final = 5.0
"""The most that stopping waits for a last piece of work, which a part that is away could hold up."""

Result = TypeVar("Result")


class StopRequestedError(Exception):
    """Ctrl-C or SIGTERM came: whoever catches it leaves, and everything is stopped."""


def wait_before(restarts: int) -> float:
    """Seconds to wait before restart number `restarts` (from 0): 1, 2, 4 … 60."""
    return min(LONGEST_WAIT_SECONDS, 2.0 ** min(restarts, 10))


@dataclass
class _Watched:
    """A child with what is remembered of it."""

    child: Child
    stage: int
    ready: bool = False
    restarts: int = 0
    since: float = field(default_factory=time.monotonic)
    restart_at: float | None = None


class Supervisor:
    """The parts of one home. Parts of a higher stage are stopped first."""

    def __init__(self, home: Path, console: Console) -> None:
        self.home = home
        self.console = console
        self.asked_to_stop = threading.Event()
        self.on_stop: dict[int, Callable[[], None]] = {}
        """What to do, while stopping, once the parts above a stage are gone and before those at it go."""
        self._watched: list[_Watched] = []
        self._looked_at_logs = time.monotonic()

    def say(self, text: str) -> None:
        """One line for the person who started the platform."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def end_leftovers(self) -> None:
        """End what a killed supervisor of this home left running, last started first."""
        records = sorted((self.home / "run").glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for record in records:
            if end_leftover(self.home, record.stem):
                self.say(f"ended {record.stem}, left over from an earlier start")

    def start(self, *parts: Part, stage: int = 0) -> None:
        """Start parts at the same time and wait until all of them work.

        Raises:
            PlatformError: one can't be started.
            StopRequestedError: asked to stop meanwhile.
        """
        begin = time.monotonic()
        waiting: list[_Watched] = []
        for part in parts:
            self._check_stop()
            watched = _Watched(Child(part, self.home), stage)
            self._watched.append(watched)
            watched.child.spawn()
            waiting.append(watched)
        with self.waiting_for(", ".join(part.title for part in parts)):
            while waiting:
                self._check_stop()
                for watched in [watched for watched in waiting if watched.child.is_ready()]:
                    waiting.remove(watched)
                    watched.ready = True
                    part = watched.child.part
                    url = part.url() if callable(part.url) else part.url
                    where = f": {url}" if url else ""
                    self.say(f"  {part.title} is up after {time.monotonic() - begin:.1f} s{where}")
                time.sleep(0.1)

    def work(self, words: str, task: Callable[[], Result], *, quiet: bool = False) -> Result:
        """Do a task in a thread of its own while watching over the parts; `words` name what is awaited.

        Parts can only be started by the main thread, so it is the task that moves. `quiet` leaves the screen to it.

        Raises:
            StopRequestedError: asked to stop meanwhile; the task is left to itself.
            BaseException: whatever the task raises.
        """
        results: list[Result] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(task())
            except BaseException as error:  # noqa: BLE001 - raised again by the main thread
                failures.append(error)

        thread = threading.Thread(target=run, name=words, daemon=True)
        with self.waiting_for(words, quiet=quiet):
            thread.start()
            while thread.is_alive():
                self._check_stop()
                self.look()
                thread.join(0.2)
        if failures:
            raise failures[0]
        return results[0]

    @contextmanager
    def waiting_for(self, words: str, *, quiet: bool = False) -> Iterator[None]:
        """Say what is awaited, with a moving sign where there is a terminal."""
        if quiet:
            yield
        elif self.console.is_terminal:
            with self.console.status(f"waiting for {words} …"):
                yield
        else:
            self.say(f"waiting for {words} …")
            yield

    def watch(self) -> None:
        """Look after the parts until asked to stop."""
        while not self.asked_to_stop.wait(0.5):
            self.look()

    def look(self) -> None:
        """One look at every part: a dead one is started again after a while, a long log is cut."""
        now = time.monotonic()
        for watched in self._watched:
            if watched.restart_at is not None:
                if now >= watched.restart_at:
                    self._start_again(watched)
            elif watched.child.status() is not None:
                self._plan_restart(watched, now)
            elif not watched.ready and watched.restarts and watched.child.part.ready():
                watched.ready = True
                self.say(f"{watched.child.part.title} is up again")
        if now - self._looked_at_logs > 60:
            self._looked_at_logs = now
            for watched in self._watched:
                rotate(watched.child.log)

    def _plan_restart(self, watched: _Watched, now: float) -> None:
        child = watched.child
        if child.pid is not None:
            # What it started may still hold its port.
            end_session(child.pid)
        if now - watched.since > STEADY_SECONDS:
            watched.restarts = 0
        wait = wait_before(watched.restarts)
        watched.restarts += 1
        watched.ready = False
        watched.restart_at = now + wait
        self.say(
            f"{child.part.title} ended by itself (status {child.status()}); starting it again in {wait:.0f} s. "
            f"Its log {child.log} ends:\n{last_lines(child.log, 3)}"
        )

    def _start_again(self, watched: _Watched) -> None:
        watched.restart_at = None
        watched.since = time.monotonic()
        try:
            watched.child.spawn()
        except PlatformError as error:
            wait = wait_before(watched.restarts)
            watched.restarts += 1
            watched.restart_at = watched.since + wait
            self.say(f"{error}; trying again in {wait:.0f} s")

    def _check_stop(self) -> None:
        if self.asked_to_stop.is_set():
            raise StopRequestedError

    def stop(self) -> None:
        """Stop all parts, stage by stage, those of a stage at the same time."""
        stages = sorted({watched.stage for watched in self._watched} | set(self.on_stop), reverse=True)
        for stage in stages:
            hook = self.on_stop.get(stage)
            if hook is not None:
                thread = threading.Thread(target=hook, name="last work before stopping", daemon=True)
                thread.start()
                thread.join(HOOK_SECONDS)
            children = [watched.child for watched in self._watched if watched.stage == stage]
            for child in children:
                child.ask_to_stop()
            asked = time.monotonic()
            for child in children:
                child.stop(max(0.1, child.part.stop_seconds - (time.monotonic() - asked)))
        self._watched.clear()
