"""Parts are watched, restarted, stopped and found again; shown on small real processes."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from velib_dagster.runtime import lock
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.logs import last_lines, rotate, standard_error_in
from velib_dagster.runtime.postgres import ensure_database
from velib_dagster.runtime.process import Child, Part, end_leftover, running, surroundings
from velib_dagster.runtime.supervisor import StopRequestedError, Supervisor, wait_before
from velib_dagster.settings import Feed, Settings

LISTEN = "import socket,time;s=socket.create_server(('127.0.0.1',{port}));print('listening',flush=True);time.sleep(600)"


def part(name: str, code: str, **changes: object) -> Part:
    values = {"title": name, "argv": [sys.executable, "-c", code], "ready": lambda: True, "stop_seconds": 2.0}
    return Part(name=name, **{**values, **changes})  # type: ignore[arg-type]


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def supervisor(home: Path) -> tuple[Supervisor, io.StringIO]:
    said = io.StringIO()
    return Supervisor(home, Console(file=said, width=200)), said


def write_supervising_program(folder: Path, child_code: str) -> Path:
    """A program that supervises one part in `folder/home` the way `velib up` does."""
    program = folder / "supervise.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from rich.console import Console
        from velib_dagster.runtime import lock
        from velib_dagster.runtime.process import Part
        from velib_dagster.runtime.supervisor import Supervisor
        from velib_dagster.stopping import asks_to_stop
        home = Path({str(folder / "home")!r})
        with lock.held(home):
            supervisor = Supervisor(home, Console())
            with asks_to_stop(supervisor.asked_to_stop):
                supervisor.end_leftovers()
                supervisor.start(Part(name="one", title="one", argv=[sys.executable, "-c", {child_code!r}],
                    ready=lambda: (home / "family").exists(), stop_seconds=1))
                print("up", flush=True)
                supervisor.watch()
                supervisor.stop()
        """)
    )
    return program


STUBBORN_FAMILY = """
import os, pathlib, signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("family.new").write_text(f"{os.getpid()} {child.pid}")
os.rename("family.new", "family")
time.sleep(600)
"""


def start_supervising(folder: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    (folder / "home").mkdir()
    program = write_supervising_program(folder, STUBBORN_FAMILY)
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline() != "up\n":
        assert process.poll() is None
    return process, [int(pid) for pid in (folder / "home" / "family").read_text().split()]


def test_restarts_wait_1_2_4_up_to_60_seconds() -> None:
    assert [wait_before(number) for number in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_part_that_dies_is_started_again_with_words(tmp_path: Path) -> None:
    watching, said = supervisor(tmp_path)
    try:
        watching.start(part("short", "import time; time.sleep(600)"))
        first = json.loads((tmp_path / "run" / "short.json").read_bytes())["pid"]
        os.kill(first, signal.SIGKILL)

        def again() -> bool:
            watching.look()
            return bool(json.loads((tmp_path / "run" / "short.json").read_bytes())["pid"] != first)

        assert until(again)
        assert until(lambda: watching.look() is None and "short is up again" in said.getvalue())
        assert "short ended by itself (status -9); starting it again in 1 s" in said.getvalue()
    finally:
        watching.stop()


def test_a_part_whose_store_is_away_when_it_should_start_again_is_tried_until_it_is_back(tmp_path: Path) -> None:
    watching, said = supervisor(tmp_path)
    away = threading.Event()

    def prepare() -> None:
        if away.is_set():
            away.clear()
            ensure_database(Settings(home=tmp_path, feed=Feed("x", ""), ports={"postgres": 9}), "x", formerly="y")

    try:
        watching.start(part("page", "import time; time.sleep(600)", prepare=prepare))
        away.set()
        os.kill(json.loads((tmp_path / "run" / "page.json").read_bytes())["pid"], signal.SIGKILL)
        assert until(lambda: watching.look() is None and "page is up again" in said.getvalue(), 15)
        assert "PostgreSQL has no database x and makes none" in said.getvalue().replace("\n", " ")
    finally:
        watching.stop()


def test_ctrl_c_stops_everything_also_what_ignores_it(tmp_path: Path) -> None:
    process, family = start_supervising(tmp_path)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert time.monotonic() - begin < 20
    assert all(gone(pid) for pid in family)
    assert not list((tmp_path / "home" / "run").glob("*.json"))


def test_what_a_killed_supervisor_left_is_ended_at_the_next_start(tmp_path: Path) -> None:
    process, family = start_supervising(tmp_path)
    process.kill()
    process.wait()
    assert not all(gone(pid) for pid in family)
    assert lock.running_platform_in(tmp_path / "home") is None
    assert end_leftover(tmp_path / "home", "one", seconds=0.5)
    assert until(lambda: all(gone(pid) for pid in family))


def test_a_process_with_the_same_id_but_another_start_time_is_left_alone(tmp_path: Path) -> None:
    with running(part("stranger", "import time; time.sleep(600)"), tmp_path) as stranger:
        record = tmp_path / "run" / "stranger.json"
        content = json.loads(record.read_bytes())
        record.write_text(json.dumps({**content, "started": content["started"] - 3600}))
        assert not end_leftover(tmp_path, "stranger")
        assert stranger.status() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a Linux signal")
def test_a_part_ends_with_its_killed_supervisor(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    mild = "import os,time;open('family','w').write(str(os.getpid()));time.sleep(600)"
    program = write_supervising_program(tmp_path, mild)
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert until((tmp_path / "home" / "family").exists)
    time.sleep(0.2)
    pid = int((tmp_path / "home" / "family").read_text())
    process.kill()
    process.wait()
    assert until(lambda: gone(pid))


def test_a_second_start_on_the_same_home_names_the_first(tmp_path: Path) -> None:
    process, _ = start_supervising(tmp_path)
    try:
        with (
            pytest.raises(PlatformError, match=rf"already runs in .*\(process {process.pid} since"),
            lock.held(tmp_path / "home"),
        ):
            pass
        assert lock.running_platform_in(tmp_path / "home") == process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def test_a_taken_port_is_named_with_its_part(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        child = Child(part("web", LISTEN.format(port=port), ports=(port,)), tmp_path)
        with pytest.raises(PlatformError, match=f"web can't start: its port {port} .* is taken"):
            child.spawn()
        assert child.pid is None


def test_a_part_that_ends_instead_of_starting_quotes_its_log(tmp_path: Path) -> None:
    broken = part("broken", "import sys; sys.exit('no such thing')", ready=lambda: False)
    words = r"broken ended with status 1 instead of starting(.|\n)*no such thing"
    with pytest.raises(PlatformError, match=words), running(broken, tmp_path):
        pass


def test_a_part_that_never_answers_is_stopped_and_named(tmp_path: Path) -> None:
    silent = part("silent", "import time; time.sleep(600)", ready=lambda: False, ready_seconds=0.5)
    with pytest.raises(PlatformError, match="silent did not answer within"), running(silent, tmp_path):
        pass
    assert not list((tmp_path / "run").glob("*.json"))


def test_a_missing_program_is_an_error_in_words(tmp_path: Path) -> None:
    missing = part("missing", "", argv=[str(tmp_path / "nothing")])
    with pytest.raises(PlatformError, match="starting missing failed"), running(missing, tmp_path):
        pass


def test_parts_start_only_from_the_main_thread(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def spawn() -> None:
        try:
            Child(part("any", ""), tmp_path).spawn()
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=spawn)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def test_work_ends_when_asked_to_stop(tmp_path: Path) -> None:
    watching, _ = supervisor(tmp_path)
    threading.Timer(0.3, watching.asked_to_stop.set).start()
    with pytest.raises(StopRequestedError):
        watching.work("something long", lambda: time.sleep(30))


def test_stages_stop_from_the_top_with_the_last_work_in_between(tmp_path: Path) -> None:
    watching, _ = supervisor(tmp_path)
    log = tmp_path / "order"
    code = (
        "import signal,sys,time;signal.signal(signal.SIGTERM,lambda *_:(open({log!r},'a').write({name!r}),sys.exit()));"
        "open({log!r}+{name!r},'w');time.sleep(600)"
    )

    def telling(name: str) -> Part:
        begun = Path(f"{log}{name}")
        return part(name, code.format(log=str(log), name=name), ready=begun.exists)

    watching.start(telling("a"), stage=0)
    watching.start(telling("b"), stage=1)
    watching.on_stop[0] = lambda: log.open("a").write("-") and None
    watching.stop()
    assert log.read_text() == "b-a"


def test_a_log_is_cut_while_its_part_goes_on_writing(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("ab") as file:
        file.write(b"old\n" * 1000)
        file.flush()
        rotate(path, most_bytes=100)
        file.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert last_lines(tmp_path / "x.log.1", 2) == "old\nold"


def test_what_a_child_says_on_standard_error_goes_to_the_log_for_as_long_as_it_lives(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "logs" / "spark.log"
    code = "import sys; print('start', file=sys.stderr, flush=True); input(); print('later', file=sys.stderr)"
    with standard_error_in(path):
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    os.write(2, b"ours\n")
    child.communicate(b"\n")
    assert path.read_text() == "start\nlater\n"
    assert capfd.readouterr().err == "ours\n"


def test_parts_are_told_their_home_and_not_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELIB_FEED", "live")
    monkeypatch.setenv("VELIB_FEED_NAME", "lyon")
    monkeypatch.setenv("VELIB_FEED_URL", "https://slow.example.org/feed")
    told = surroundings()
    assert not {"VELIB_FEED", "VELIB_FEED_NAME"} & set(told)
    assert told["VELIB_FEED_URL"] == "https://slow.example.org/feed"
