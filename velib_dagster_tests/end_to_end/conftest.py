"""What the tests of a whole platform share: one that runs, as a person starts it, and a headless browser.

A platform takes a minute to start, so one serves all tests of a module. No test's own logic belongs here.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import pytest
import requests

from velib_dagster.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

START_SECONDS = 300
"""Far more than an idle machine needs: other tests may be running beside."""

NOBODY_LISTENS = "http://127.0.0.1:9/feed"

Found = TypeVar("Found")


def velib(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command of the platform in a home, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "velib_dagster.cli", *words, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class QueryError(Exception):
    """Dagster answered a query with an error, which is quoted."""


@dataclass
class RunningPlatform:
    """A platform started by `velib up`, with what it said and where its pages are."""

    home: Path
    process: "subprocess.Popen[bytes]"
    said: Path
    dagster: str
    mlflow: str

    @property
    def settings(self) -> Settings:
        return Settings.load(self.home)

    def pid(self, part: str) -> int:
        """Process id of a part as the supervisor wrote it down."""
        return int(json.loads((self.home / "run" / f"{part}.json").read_bytes())["pid"])

    def wait(self, words: str, look: Callable[[], Found], seconds: float = 120) -> Found:
        """What `look` finds as soon as it finds something; `words` name what is awaited.

        Dagster may answer a query with an error meanwhile: its connections die with PostgreSQL.
        """
        deadline = time.monotonic() + seconds
        trouble = ""
        while True:
            try:
                if found := look():
                    return found
            except QueryError as error:
                trouble = str(error)
            said = self.said.read_text()
            assert self.process.poll() is None, f"the platform ended:\n{said}"
            assert time.monotonic() < deadline, f"{words} did not come within {seconds} s {trouble}:\n{said}"
            time.sleep(0.5)

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The data of a GraphQL query.

        Raises:
            QueryError: Dagster answers with an error.
        """
        answer = requests.post(
            f"{self.dagster}/graphql", json={"query": query, "variables": variables}, timeout=30
        ).json()
        if "errors" in answer:
            raise QueryError(answer["errors"])
        return dict(answer["data"])

    def runs(self, since: float = 0, job: str | None = None) -> list[dict[str, Any]]:
        """Runs created after a time (seconds since 1970), newest first; tags as a dict."""
        data = self.ask(
            """query Runs($filter: RunsFilter) { runsOrError(filter: $filter, limit: 100) { ... on Runs { results {
            runId jobName status creationTime startTime endTime assetSelection { path } tags { key value } } } } }""",
            filter={"createdAfter": since, **({"pipelineName": job} if job else {})},
        )
        runs = data["runsOrError"]["results"]
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        return list(runs)

    def green(self, job: str, launched_by: str, since: float = 0) -> list[dict[str, Any]]:
        """The successful runs of a job that a schedule or sensor launched."""
        return [
            run
            for run in self.runs(since, job)
            if run["status"] == "SUCCESS"
            and launched_by in {run["tags"].get("dagster/schedule_name"), run["tags"].get("dagster/sensor_name")}
        ]

    def skip_reason(self, sensor: str) -> str:
        """Why the sensor's newest tick launched nothing; empty where it launched something."""
        data = self.ask(
            """query Ticks($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
            sensorState { ticks(limit: 2) { status skipReason } } } } }""",
            sensor={
                "repositoryLocationName": "velib_dagster",
                "repositoryName": "__repository__",
                "sensorName": sensor,
            },
        )
        ticks = data["sensorOrError"]["sensorState"]["ticks"]
        return next((tick["skipReason"] for tick in ticks if tick["skipReason"]), "")


def processes_of(home: Path) -> list[psutil.Process]:
    """Every living process that has the home in its environment or its command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get("VELIB_HOME") == str(home) or str(home) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _interrupted_by_default() -> None:
    # A shell that starts things in the background has them ignore Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A new home where the live feed can't be reached, so that it serves the simulated one; everything up."""
    home = tmp_path_factory.mktemp("platform-up") / "home"
    said = home.parent / "said.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "velib_dagster.cli", "up", "--home", str(home)],
            env={**os.environ, "VELIB_FEED_URL": NOBODY_LISTENS},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_interrupted_by_default,  # noqa: PLW1509 - this process has one thread
        )
    try:
        running = RunningPlatform(home, process, said, "", "")

        def page(title: str) -> str:
            pattern = rf"  {title} is up after .*: (http\S+)"
            return running.wait(f"the address of {title}", lambda: _first(pattern, said.read_text()), START_SECONDS)

        running.dagster, running.mlflow = page("Dagster"), page("MLflow")
        yield running
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        for left in processes_of(home):
            left.kill()


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


@contextmanager
def chromium_with(*options: str) -> Iterator["Browser"]:
    """A headless Chromium with further options; the test is skipped where there is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
        program = Path(found or playwright.chromium.executable_path)
        if not program.exists():
            pytest.skip("no browser: neither chromium nor google-chrome on PATH, nor Playwright's own (make browser)")
        chromium = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", *options],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def browser() -> Iterator["BrowserContext"]:
    """A headless Chromium with Dagster's graph set to show few lines a node."""
    with chromium_with() as chromium:
        context = chromium.new_context(viewport={"width": 2300, "height": 2800})
        context.set_default_timeout(60_000)
        context.add_init_script(
            """localStorage.setItem("asset-node-facets", '["checks","status","kind-tag"]');
            localStorage.setItem("dagster-nav-collapsed", "true");"""
        )
        yield context
