"""Kafka and PostgreSQL start, answer, survive a kill and stop; as root and as another user; both are the real ones."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console

from velib_dagster.events.topics import client_config
from velib_dagster.runtime import dagster_services, kafka, lock, mlflow, postgres, reach
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.identity import unprivileged_user
from velib_dagster.runtime.new_home import set_up
from velib_dagster.runtime.process import running
from velib_dagster.runtime.services import needed_services
from velib_dagster.runtime.services import services as run_services
from velib_dagster.settings import Feed, Settings, cache_root

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
AS_NOBODY = (
    *("setpriv", f"--reuid={unprivileged_user().uid}", f"--regid={unprivileged_user().gid}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
"""Runs a program as another user, who may read this machine's Python even where root's folders are closed."""


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Settings of a home of the test's own, with ports; nothing runs there."""
    return set_up(Settings(home=tmp_path / "home", feed=Feed("some_feed", "")))


def records(settings: Settings, topic: str) -> list[bytes]:
    consumer = Consumer(
        {**client_config(settings), "group.id": "test", "auto.offset.reset": "earliest"}
        | {"enable.partition.eof": True}
    )
    consumer.subscribe([topic])
    found: list[bytes] = []
    while True:
        message = consumer.poll(20)
        assert message is not None
        if message.error():
            consumer.close()
            return found
        found.append(message.value())


def send(settings: Settings, topic: str, *values: bytes) -> None:
    producer = Producer({**client_config(settings), "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


@pytest.mark.kafka
def test_an_acknowledged_record_survives_a_kill_of_the_broker(own: Settings) -> None:
    with running(kafka.broker(own), own.home) as child:
        client = AdminClient(client_config(own))
        client.create_topics([NewTopic("t", 1)])["t"].result()
        send(own, "t", b"1", b"2")
        assert child.process is not None
        child.process.kill()
        child.process.wait()
    with running(kafka.broker(own), own.home) as child:
        send(own, "t", b"3")
        assert records(own, "t") == [b"1", b"2", b"3"]
        child.ask_to_stop()
        assert child.process is not None
        assert child.process.wait(20) == 143


@pytest.mark.kafka
def test_the_broker_listens_on_loopback_only(kafka_settings: Settings) -> None:
    port = kafka_settings.port("kafka")
    bound = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
    assert {address.removeprefix("::ffff:") for address in bound} == {"127.0.0.1"}


@pytest.mark.kafka
@pytest.mark.parametrize("listener", ["kafka", "kafka_controller"])
def test_nobody_without_the_home_s_password_gets_in(kafka_settings: Settings, listener: str) -> None:
    at = {"bootstrap.servers": f"127.0.0.1:{kafka_settings.port(listener)}", "log_level": 0, "socket.timeout.ms": 1000}
    for wrong in ({}, {"sasl.password": "guessed"}):
        login = {**client_config(kafka_settings), **at, **wrong} if wrong else at
        with pytest.raises(KafkaException):
            AdminClient(login).list_topics(timeout=1.5)


@pytest.mark.kafka
def test_a_home_whose_broker_asked_for_no_login_goes_on_with_its_records(own: Settings) -> None:
    part = kafka.broker(own)
    before = replace(own, kafka_address=own.kafka)

    def prepare() -> None:
        assert part.prepare is not None
        part.prepare()
        path = own.home / "kafka" / "server.properties"
        lines = path.read_text().replace("SASL_PLAINTEXT", "PLAINTEXT").replace("CLIENTS", "PLAINTEXT").splitlines()
        path.write_text("\n".join(line for line in lines if "sasl" not in line))

    with running(replace(part, prepare=prepare, ready=lambda: kafka.is_ready(before)), own.home):
        client = AdminClient(client_config(before))
        client.create_topics([NewTopic("t", 1)])["t"].result()
        send(before, "t", b"1")
    with running(kafka.broker(own), own.home):
        assert records(own, "t") == [b"1"]


@pytest.mark.postgres
def test_committed_rows_survive_a_kill_of_postgres(own: Settings) -> None:
    with running(postgres.server(own), own.home) as child:
        postgres.ensure_database(own, own.database, formerly="none")
        with psycopg.connect(own.postgres()) as connection:
            connection.execute("create table t as select 7 as x")
        assert child.process is not None
        child.process.kill()
        child.process.wait()
    with running(postgres.server(own), own.home), psycopg.connect(own.postgres()) as connection:
        assert connection.execute("select x from t").fetchone() == (7,)


@pytest.mark.postgres
def test_a_database_is_made_once_and_one_of_an_earlier_name_is_renamed(postgres_settings: Settings) -> None:
    with psycopg.connect(postgres_settings.postgres("postgres"), autocommit=True) as admin:
        admin.execute("create database earlier")
        assert postgres.ensure_database(postgres_settings, "feed_once", formerly="none")
        assert not postgres.ensure_database(postgres_settings, "feed_once", formerly="earlier")
        assert not postgres.ensure_database(postgres_settings, "feed_later", formerly="earlier")
        names = {row[0] for row in admin.execute("select datname from pg_database").fetchall()}
    assert {"feed_once", "feed_later"} <= names
    assert "earlier" not in names


def test_platforms_on_one_server_have_databases_of_their_own(tmp_path: Path) -> None:
    one, other = (Settings(home=tmp_path, feed=Feed(name, "")) for name in ("velib", "bergen"))
    for name in (mlflow.database, dagster_services.database):
        assert name(one) != name(other)


@pytest.mark.postgres
def test_a_server_that_is_away_is_an_error_of_the_part_that_needs_a_database(own: Settings) -> None:
    with pytest.raises(PlatformError, match="PostgreSQL has no database x and makes none") as caught:
        postgres.ensure_database(own, "x", formerly="y")
    assert own.secret("postgres") not in str(caught.value)


@pytest.mark.postgres
def test_postgres_refuses_who_lacks_the_password(postgres_settings: Settings) -> None:
    admin = postgres_settings.postgres("postgres")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(admin.replace(postgres_settings.secret("postgres"), "wrong"))


@pytest.mark.postgres
def test_the_password_is_in_a_private_file_and_on_no_command_line(postgres_settings: Settings) -> None:
    password = postgres_settings.secret("postgres")
    mode = (postgres_settings.home / "secrets" / "postgres").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    assert not any(password in line for line in lines)


def test_data_of_another_postgres_version_is_refused_with_both_versions(own: Settings) -> None:
    data = own.home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    words = r"made by PostgreSQL 9, and the programs here are .*18"
    with pytest.raises(PlatformError, match=words), running(postgres.server(own), own.home):
        pass


@as_root
@pytest.mark.kafka
@pytest.mark.postgres
def test_an_ordinary_user_runs_both_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    user = unprivileged_user()
    kafka.folder_of("kafka")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_root().parent))
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, user.uid, user.gid)
        answer = subprocess.run(
            [*AS_NOBODY, sys.executable, str(Path(__file__).with_name("run_stores.py")), home],
            env={**os.environ, "HOME": home},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert answer.stdout == f"both run as {user.uid}\n", answer.stderr


@as_root
def test_a_user_without_write_permission_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    code = (
        "import sys; from pathlib import Path; from velib_dagster.settings import Settings, Feed;"
        "from velib_dagster.runtime.services import services\n"
        "with services(Settings(home=Path(sys.argv[1]), feed=Feed('f', '')), ('postgres',)): pass"
    )
    answer = subprocess.run(
        [*AS_NOBODY, sys.executable, "-c", code, str(tmp_path / "closed" / "home")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "PlatformError: using the home" in answer.stderr
    assert "no permission: give this user write access, or choose another --home" in answer.stderr


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 8 MB, which every user can reach."""
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("a small disk can't be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607
    folder.rmdir()


@as_root
@pytest.mark.postgres
def test_a_full_disk_is_said_in_words(small_disk: Path) -> None:
    settings = Settings(home=small_disk / "home", feed=Feed("f", ""))
    words = r"No space left on device|disk is full"
    with pytest.raises(PlatformError, match=words), run_services(settings, ("postgres",)):
        pass


@pytest.fixture
def closed_home(tmp_path: Path) -> Settings:
    """Settings of a home that nobody but root can reach."""
    tmp_path.chmod(0o700)
    return set_up(Settings(home=tmp_path / "home", feed=Feed("f", "")))


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for data that root's home would close off."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    monkeypatch.setenv("VELIB_PG_DATA", str(folder))
    yield folder
    shutil.rmtree(folder)


def answer(settings: Settings, statement: str) -> object:
    with running(postgres.server(settings), settings.home) as child:
        assert child.process is not None
        assert set(psutil.Process(child.process.pid).uids()) == {unprivileged_user().uid}
        with psycopg.connect(settings.postgres("postgres")) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone() if cursor.description else None


@as_root
@pytest.mark.postgres
def test_under_root_the_data_is_where_its_own_user_can_reach_it(closed_home: Settings, common: Path) -> None:
    answer(closed_home, "create table t as select 7 as x")
    (place,) = (path.parent for path in common.glob("*/data"))
    assert place.stat().st_mode & stat.S_IXOTH
    assert not (closed_home.home / "postgres" / "data").exists()
    moved = closed_home.home.rename(closed_home.home.with_name("elsewhere"))
    assert answer(replace(closed_home, home=moved), "select x from t") == (7,)


@as_root
@pytest.mark.postgres
@pytest.mark.parametrize("other_disk", [False, True])
def test_data_of_an_earlier_version_moves_once_and_an_interrupted_move_goes_on(
    closed_home: Settings, common: Path, monkeypatch: pytest.MonkeyPatch, other_disk: bool
) -> None:
    folder = closed_home.home / "postgres"
    answer(closed_home, "create table t as select 7 as x")
    (data,) = common.glob("*/data")
    shutil.move(data, folder / "data")
    (folder / reach.POINTER).unlink()
    if other_disk:
        place = reach.folder_for(folder)
        place.mkdir()
        (place / "data.moving").mkdir()  # what a killed copy leaves
        monkeypatch.setattr(Path, "rename", renamed_on_one_disk(folder / "data"))
    assert answer(closed_home, "select x from t") == (7,)
    assert not (folder / "data").exists()
    (folder / "data").mkdir()  # what is left where the old data was being removed
    assert answer(closed_home, "select x from t") == (7,)
    assert not (folder / "data").exists()


def renamed_on_one_disk(other: Path) -> Callable[[Path, Path], Path]:
    """`Path.rename` where `other` lies on another disk than everything else."""
    rename = Path.rename

    def one_disk(path: Path, target: Path) -> Path:
        if path == other:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(path, target)

    return one_disk


@as_root
def test_a_common_folder_of_somebody_else_is_refused(common: Path) -> None:
    os.chown(common, unprivileged_user().uid, -1)
    with pytest.raises(PlatformError, match=r"belongs to somebody else.*VELIB_PG_DATA"):
        reach.common_folder()


@pytest.mark.kafka
@pytest.mark.postgres
def test_given_addresses_are_used_and_nothing_is_started(
    services: Settings, fresh_feed: Callable[..., Settings], kafka_login: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = fresh_feed(services)
    monkeypatch.setenv("VELIB_POSTGRES_PASSWORD", services.secret("postgres"))
    outside = replace(
        fresh,
        ports={},
        kafka_address=services.kafka,
        kafka_security=kafka_login,
        postgres_address=f"postgresql://platform@127.0.0.1:{services.port('postgres')}",
    )
    with run_services(outside, ("kafka", "postgres")) as ready:
        assert not list((ready.home / "run").glob("*.json"))
        assert kafka.is_ready(ready)
        with psycopg.connect(ready.postgres()) as connection:
            assert connection.execute("select current_database()").fetchone() == (fresh.feed.name,)


def test_a_home_that_another_command_holds_is_no_running_platform(own: Settings) -> None:
    with (
        lock.held(own.home),
        pytest.raises(PlatformError, match="already runs"),
        needed_services(own, ("kafka", "postgres"), Console(quiet=True)),
    ):
        pass
