"""One part as a child process: started in a session of its own, watched, stopped, and found again after a crash.

It knows nothing of what the parts are. The supervisor, the tests and commands that need one part alone call it.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from velib_dagster.files import write_atomically
from velib_dagster.runtime.errors import PlatformError, in_words
from velib_dagster.runtime.identity import User, before_exec, signal_group
from velib_dagster.runtime.logs import last_lines, log_path, rotate
from velib_dagster.runtime.ports import demand_free
from velib_dagster.settings import LOOPBACK, cache_root

START_TOLERANCE_SECONDS: Final = 2.0
"""Start times are counted from boot: they shift by this much at most when the clock is corrected."""


@dataclass(frozen=True)
class Part:
    """What to run, and how one knows that it works.

    `prepare` runs before each start (files, first-time set-up). `tries` is how often a start that ends at once is
    repeated before it counts as failed. `url` is what a person opens; it may be asked for once the part works.
    """

    name: str
    title: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ports: tuple[int, ...] = ()
    user: User | None = None
    prepare: Callable[[], None] | None = None
    ready_seconds: float = 300
    tries: int = 1
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 15
    url: str | Callable[[], str] | None = None


class Child:
    """The running process of a part, in one home."""

    def __init__(self, part: Part, home: Path) -> None:
        self.part = part
        self.home = home
        self.log = log_path(home, part.name)
        self.process: subprocess.Popen[bytes] | None = None
        self._tries_left = part.tries
        self._deadline = time.monotonic() + part.ready_seconds

    def spawn(self) -> None:
        """Start the process; it is not ready yet.

        Raises:
            PlatformError: a port is taken, the program or the home can't be used.
        """
        if threading.current_thread() is not threading.main_thread():
            msg = "a part must be started from the main thread: it ends with the thread that started it"
            raise RuntimeError(msg)
        part = self.part
        demand_free(part.title, part.ports)
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            if part.prepare is not None:
                part.prepare()
            rotate(self.log)
            environment = {**surroundings(), "VELIB_HOME": str(self.home), **part.env, "VELIB_PART": part.name}
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    list(part.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=part.cwd or self.home,
                    env=environment,
                    start_new_session=True,
                    # Needed: nothing but code in the child can tie it to its parent's life.
                    preexec_fn=before_exec(os.getpid(), part.user, part.stop_signal),  # noqa: PLW1509
                )
            self._record(self.process.pid)
        except OSError as error:
            raise in_words(error, f"starting {part.title}") from error

    def _record(self, pid: int) -> None:
        folder = self.home / "run"
        folder.mkdir(parents=True, exist_ok=True)
        started = psutil.Process(pid).create_time()
        content = {"name": self.part.name, "pid": pid, "started": started}
        write_atomically(folder / f"{self.part.name}.json", json.dumps(content).encode())

    @property
    def pid(self) -> int | None:
        """The process id, or None before the first start."""
        return None if self.process is None else self.process.pid

    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return None if self.process is None else self.process.poll()

    def is_ready(self) -> bool:
        """Whether the part works by now; one that ended at once is started again while it has tries left.

        Raises:
            PlatformError: it ended, or has taken too long; quotes the end of its log.
        """
        part = self.part
        status = self.status()
        if status is not None:
            self._tries_left -= 1
            if self._tries_left <= 0:
                msg = f"{part.title} ended with status {status} instead of starting; {self._words()}"
                raise PlatformError(msg)
            time.sleep(0.3)
            self.spawn()
        elif part.ready():
            return True
        if time.monotonic() > self._deadline:
            self.stop()
            msg = f"{part.title} did not answer within {part.ready_seconds:.0f} s; {self._words()}"
            raise PlatformError(msg)
        return False

    def wait_ready(self) -> None:
        """Wait until the part works.

        Raises:
            PlatformError: as `is_ready`.
        """
        while not self.is_ready():
            time.sleep(0.1)

    def _words(self) -> str:
        return f"the end of {self.log}:\n{last_lines(self.log)}"

    def ask_to_stop(self) -> None:
        """Send the part's own stop signal, without waiting."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.part.stop_signal)

    def stop(self, seconds: float | None = None) -> None:
        """Stop the process and all of its session: asked first, killed after `seconds`."""
        if self.process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(self.part.stop_seconds if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        end_session(self.process.pid)
        (self.home / "run" / f"{self.part.name}.json").unlink(missing_ok=True)


def surroundings() -> dict[str, str]:
    """This process's environment, changed where it would be in the parts' way."""
    environment = dict(os.environ)
    # What was asked for made the home, which says it to the parts: a word of --feed or --name may stand against these.
    for asked in ("VELIB_FEED", "VELIB_FEED_NAME"):
        environment.pop(asked, None)
    # They talk to each other on loopback, where a proxy has no place.
    others = environment.get("no_proxy") or environment.get("NO_PROXY")
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(filter(None, (others, LOOPBACK, "localhost")))
    # Each minute's run would compile Dagster anew, which doubles what it costs.
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        environment["PYTHONPYCACHEPREFIX"] = str(cache_root() / "bytecode")
    return environment


@contextmanager
def running(part: Part, home: Path) -> Iterator[Child]:
    """The part, started and ready; stopped on leaving."""
    end_leftover(home, part.name)
    child = Child(part, home)
    try:
        child.spawn()
        child.wait_ready()
        yield child
    finally:
        child.stop()


def session_members(leader: int) -> list[psutil.Process]:
    """Every process of the session that `leader` began, whether or not the leader still lives."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return members


def end_session(leader: int) -> None:
    """Kill what is left of a session."""
    for _ in range(50):
        members = session_members(leader)
        if not members:
            return
        signal_group(leader, signal.SIGKILL)
        for process in members:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(members, timeout=0.2)


def end_leftover(home: Path, name: str, seconds: float = 15) -> bool:
    """End what an earlier supervisor, itself killed, left of a part; True when there was something.

    A process is ours only when both its id and its start time are those that were written down. Its whole session
    goes with it. Where the leader is gone, members of its session that carry the part's name and home go.
    """
    record = home / "run" / f"{name}.json"
    try:
        content = json.loads(record.read_bytes())
        pid, started = int(content["pid"]), float(content["started"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        record.unlink()
        return False
    found = _leftover_members(home, name, pid, started)
    if found:
        _end_politely(pid, found, seconds)
    record.unlink(missing_ok=True)
    return bool(found)


def _leftover_members(home: Path, name: str, pid: int, started: float) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        if abs(leader.create_time() - started) > START_TOLERANCE_SECONDS:
            return []
        if leader.status() != psutil.STATUS_ZOMBIE:
            return session_members(pid)
    except psutil.NoSuchProcess:
        pass
    return [process for process in session_members(pid) if _belongs(process, home, name)]


def _belongs(process: psutil.Process, home: Path, name: str) -> bool:
    try:
        environment = process.environ()
    except psutil.Error:
        return False
    return environment.get("VELIB_PART") == name and environment.get("VELIB_HOME") == str(home)


def _end_politely(leader: int, members: list[psutil.Process], seconds: float) -> None:
    for process in members:
        try:
            # PostgreSQL waits for its clients on SIGTERM; SIGINT is quick and clean for every part.
            process.send_signal(signal.SIGINT if process.pid == leader else signal.SIGTERM)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(members, timeout=seconds)
    end_session(leader)
