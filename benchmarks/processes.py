"""CPU and memory of a process and all that it started, by the part of the platform that each one is.

Used by the benchmarks that run a whole platform; nothing is started or judged here.
"""

import threading
import time
from dataclasses import dataclass, field

import psutil

_SAMPLE_SECONDS = 0.5


@dataclass
class Usage:
    """CPU seconds and the largest proportional set size (MB) of one part."""

    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


def part_of(process: psutil.Process) -> str:
    """The part of the platform that a process is, by its command line."""
    words = " ".join(process.cmdline())
    for mark, part in (
        ("kafka.Kafka", "Kafka"),
        ("java", "Spark (Java)"),
        ("cli stream", "Spark (Python)"),
        ("mlflow", "MLflow"),
        ("dagster_webserver", "Dagster webserver"),
        ("orchestration.daemon", "Dagster daemon"),
        ("-m dagster api grpc", "Dagster code server"),
        ("multiprocessing", "Dagster runs"),
        ("-m dagster", "Dagster runs"),
        ("dagster api", "Dagster runs"),
        ("postgres", "PostgreSQL"),
        ("cli simulate", "simulated feed"),
        ("--standby", "standby poller"),
        ("velib_dagster.cli", "velib itself"),
    ):
        if mark in words:
            return part
    return process.name()


@dataclass
class Sampler:
    """Samples a process and its descendants in a thread, until stopped."""

    pid: int
    _seen: dict[tuple[int, float], tuple[str, float]] = field(default_factory=dict)
    _memory: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Sampler":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def by_part(self) -> dict[str, Usage]:
        """What each part used so far."""
        found: dict[str, Usage] = {}
        for part, seconds in self._seen.values():
            found.setdefault(part, Usage()).cpu_seconds += seconds
        for part, megabytes in self._memory.items():
            found.setdefault(part, Usage()).peak_mb = megabytes
        return found

    def snapshot(self) -> dict[str, float]:
        """CPU seconds of each part so far."""
        self.sample(with_memory=False)
        return {part: usage.cpu_seconds for part, usage in self.by_part().items()}

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(_SAMPLE_SECONDS):
            with_memory = (time.monotonic() - began) % 5 < _SAMPLE_SECONDS  # smaps cost milliseconds a process
            self.sample(with_memory)

    def sample(self, with_memory: bool) -> None:
        """Look once at every process."""
        memory: dict[str, float] = {}
        try:
            processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        except psutil.Error:
            return
        for process in processes:
            try:
                part, times = part_of(process), process.cpu_times()
                self._seen[(process.pid, process.create_time())] = (part, times.user + times.system)
                if with_memory:
                    memory[part] = memory.get(part, 0.0) + process.memory_full_info().pss / 1e6
            except psutil.Error:
                continue
        for part, megabytes in memory.items():
            self._memory[part] = max(self._memory.get(part, 0.0), megabytes)
