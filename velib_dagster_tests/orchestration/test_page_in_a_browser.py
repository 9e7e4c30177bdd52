"""Dagster's page in a real browser: a page of another site changes nothing by it, and its own pages work.

A small instance with one asset, served by the program that the platform starts.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import requests

from velib_dagster.runtime.web import answers_ok
from velib_dagster_tests.end_to_end.conftest import chromium_with
from velib_dagster_tests.feed.local_feed import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

INSTANCE = """telemetry: {enabled: false}
nux: {enabled: false}
# No daemon runs here that would take runs from a queue.
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""
ASSET = "probe"
ASSETS = f"""
import dagster as dg

@dg.asset(name="{ASSET}")
def probe(): ...

defs = dg.Definitions([probe])
"""
REPORT = (
    'mutation { reportRunlessAssetEvents(eventParams: {eventType: ASSET_MATERIALIZATION, assetKey: {path: ["probe"]}})'
    " { __typename } }"
)
COUNT = '{ assetOrError(assetKey: {path: ["probe"]}) { ... on Asset { assetMaterializations { runId } } } }'

ATTACK = """<!doctype html><title>attack</title><iframe name="hole"></iframe><script>
const page = "PAGE", query = QUERY;
window.got = [];
const done = name => answer => { window.got.push(name + " " + (answer ?? "")); };
function form(type, fields) {
  const form = document.createElement("form");
  Object.assign(form, {method: "post", target: "hole", enctype: type, action: page + "/graphql" + (fields ? "" :
    "?query=" + encodeURIComponent(query))});
  for (const [name, value] of Object.entries(fields ?? {})) {
    const input = document.createElement("input");
    Object.assign(input, {name, value});
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}
async function attack() {
  const image = new Image();
  await new Promise(then => {
    image.onload = image.onerror = then;
    image.src = page + "/graphql?query=" + encodeURIComponent(query);
  });
  done("image")();
  form("application/x-www-form-urlencoded");
  await new Promise(then => setTimeout(then, 500));
  form("text/plain", {['{"query":' + JSON.stringify(query) + ',"x":"']: '"}'});
  await new Promise(then => setTimeout(then, 500));
  for (const type of ["text/plain", "text/plain; charset=application/json"]) {
    await fetch(page + "/graphql", {method: "POST", mode: "no-cors", headers: {"Content-Type": type},
      body: JSON.stringify({query})}).then(done("no-cors"), done("no-cors failed"));
  }
  await fetch(page + "/graphql", {method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({query})}).then(done("cors"), done("cors failed"));
  await fetch(page + "/report_asset_materialization/probe", {method: "POST", mode: "no-cors"}).then(
    done("report"), done("report failed"));
  await new Promise(then => {
    const socket = new WebSocket(page.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => {
      done("websocket open")();
      socket.send(JSON.stringify({type: "connection_init"}));
      socket.send(JSON.stringify({type: "start", id: "1", payload: {query}}));
      setTimeout(then, 1000);
    };
    socket.onerror = then;
  });
  const frame = document.createElement("iframe");
  frame.src = page + "/assets/probe";
  await new Promise(then => { frame.onload = frame.onerror = then; document.body.append(frame); });
  done("end")();
}
</script>"""


class Instance:
    """A served Dagster of one asset."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    def materializations(self) -> int:
        answer = requests.post(f"{self.address}/graphql", json={"query": COUNT}, timeout=30)
        return len(answer.json()["data"]["assetOrError"].get("assetMaterializations", ()))


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    home = tmp_path_factory.mktemp("dagster-page")
    (home / "dagster.yaml").write_text(INSTANCE)
    (home / "probe_assets.py").write_text(ASSETS)
    (home / "workspace.yaml").write_text(f"load_from: [{{python_file: {home / 'probe_assets.py'}}}]\n")
    served = Instance(free_port())
    with (home / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "velib_dagster.orchestration.webserver", "--host", "127.0.0.1"),
                *("--port", str(served.port), "--workspace", str(home / "workspace.yaml")),
                *("--public", "dagster.example.org"),
            ],
            env={**os.environ, "DAGSTER_HOME": str(home)},
            cwd=home,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not answers_ok(f"{served.address}/server_info"):
            assert process.poll() is None, (home / "said.txt").read_text()
            assert time.monotonic() < deadline, (home / "said.txt").read_text()
            time.sleep(0.2)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A browser for which the names of the attack lead to this machine, as an attacker's name server has it."""
    names = ("evil.example", "rebound.example", "dagster.example.org")
    with chromium_with(f"--host-resolver-rules={', '.join(f'MAP {name} 127.0.0.1' for name in names)}") as browser:
        yield browser


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


class Attacker(ThreadingHTTPServer):
    """Serves the attack at every path."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        html = ATTACK.replace("PAGE", target).replace("QUERY", repr(REPORT)).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(html)))
                self.end_headers()
                self.wfile.write(html)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def attacker(instance: Instance) -> Iterator[Attacker]:
    with Attacker(instance.address) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def eventually(look: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.3)
    return found


@pytest.mark.parametrize("name", ["evil.example", "localhost"])
def test_another_site_s_page_changes_nothing(name: str, instance: Instance, attacker: Attacker, page: "Page") -> None:
    before = instance.materializations()
    statuses: dict[str, int] = {}
    page.on("response", lambda answer: statuses.update({answer.url.removeprefix(instance.address): answer.status}))
    page.goto(f"http://{name}:{attacker.server_port}/")
    page.evaluate("attack()")
    got = page.evaluate("window.got")
    assert got[-1].startswith("end")
    assert not [words for words in got if words.startswith(("websocket open", "cors [", "cors  "))]
    assert len(statuses) >= 3
    asked = {path: status for path, status in statuses.items() if path.startswith(("/graphql", "/report", "/assets"))}
    assert set(asked.values()) == {403}, asked
    assert instance.materializations() == before


def test_a_rebound_name_reads_and_changes_nothing(instance: Instance, page: "Page") -> None:
    before = instance.materializations()
    answer = page.goto(f"http://rebound.example:{instance.port}/")
    assert answer is not None
    assert answer.status == 421
    assert "'rebound.example" in answer.text()
    statuses = page.evaluate(
        """async query => {
            const ask = (path, how) => fetch(path, how).then(answer => answer.status);
            const socket = await new Promise(then => {
                const socket = new WebSocket("ws://" + location.host + "/graphql", "graphql-ws");
                socket.onopen = () => then(200);
                socket.onerror = () => then(421);
            });
            return [await ask("/graphql", {method: "POST", headers: {"Content-Type": "application/json"},
                body: JSON.stringify({query})}), await ask("/graphql?query={version}"), await ask("/server_info"),
                socket];
        }""",
        REPORT,
    )
    assert statuses == [421, 421, 421, 421]
    assert instance.materializations() == before


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "dagster.example.org"])
def test_the_page_itself_materializes_and_follows_its_runs(name: str, instance: Instance, page: "Page") -> None:
    before = instance.materializations()
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    page.goto(f"http://{name}:{instance.port}/assets/{ASSET}")
    page.locator("button", has_text=re.compile("^Materialize$")).click()
    page.get_by_text("Launched run").first.wait_for()
    assert eventually(lambda: instance.materializations() == before + 1)
    page.goto(f"http://{name}:{instance.port}/runs")
    page.get_by_text("Success").first.wait_for()
    page.locator("a[href^='/runs/']").first.click()
    page.get_by_text("RUN_SUCCESS").first.wait_for()
    assert any("pipelineRunLogs" in frame for frame in frames)
    assert refused == []


def test_a_link_from_another_site_opens_the_page(instance: Instance, attacker: Attacker, page: "Page") -> None:
    page.goto(f"http://evil.example:{attacker.server_port}/")
    page.evaluate("address => { location = address; }", f"{instance.address}/assets/{ASSET}")
    page.locator("button", has_text=re.compile("^Materialize$")).wait_for()
