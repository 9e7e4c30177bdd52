"""Places that PostgreSQL's own user can reach when root starts it: PostgreSQL refuses root, and root's home is closed.

No folder's permissions are changed but those of folders made here. Only `postgres.py` calls it.
"""

import hashlib
import os
import secrets
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Final

from velib_dagster.files import sync_folder, write_atomically
from velib_dagster.runtime.errors import PlatformError

COMMON: Final = Path("/var/lib/velib-dagster")
"""Where data goes that root's home would close off: kept for good, as /var/tmp is not (systemd deletes there what is 30
days old). `VELIB_PG_DATA` names another."""
POINTER: Final = "data_folder"
"""File in the home's `postgres` folder that says where the data is instead."""
FORMERLY: Final = Path("/var/tmp")  # noqa: S108 - where it was in earlier versions


def is_reachable(path: Path) -> bool:
    """Whether every folder on the way lets other users pass."""
    existing = next(part for part in (path, *path.parents) if part.exists())
    return all(part.stat().st_mode & stat.S_IXOTH for part in (existing, *existing.parents) if part.is_dir())


def common_folder() -> Path:
    """A folder of root's which others may pass but not list.

    Raises:
        PlatformError: it can't be made, somebody else made it first, or others can't reach it.
    """
    folder = Path(os.environ.get("VELIB_PG_DATA") or COMMON)
    words = "VELIB_PG_DATA names another folder that PostgreSQL's user can reach"
    try:
        folder.mkdir(mode=0o711, exist_ok=True)
    except OSError as error:
        msg = f"{folder} can't be made for PostgreSQL's data ({error.strerror}): {words}"
        raise PlatformError(msg) from error
    state = folder.lstat()
    if state.st_uid != os.geteuid() or not stat.S_ISDIR(state.st_mode):
        msg = f"{folder} belongs to somebody else: remove it; or {words}"
        raise PlatformError(msg)
    folder.chmod(0o711)
    if not is_reachable(folder):
        msg = f"{folder} is closed to other users, and PostgreSQL doesn't run as root: {words}"
        raise PlatformError(msg)
    return folder


def folder_for(folder: Path) -> Path:
    """The home's folder `postgres` itself where others can reach it, else the one that is kept in its stead.

    That one is chosen once and written down in `folder`, so that it stays the home's own wherever the home is moved.

    Raises:
        PlatformError: no such folder can be made.
    """
    pointer = folder / POINTER
    if pointer.exists():
        return Path(pointer.read_text().strip())
    if is_reachable(folder) and not (_formerly(folder) / "data").exists():
        return folder
    place = common_folder() / f"{folder.parent.name}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(pointer, f"{place}\n".encode())
    return place


def move_data(folder: Path, place: Path) -> None:
    """Bring the data of an earlier version from `folder`, or from where that version kept it, to `place`, once.

    What is interrupted goes on at the next start: the data is at its old place until it is whole at the new one.

    Raises:
        PlatformError: it can't be copied, with the words of `cp`.
    """
    target = place / "data"
    for source in (folder / "data", _formerly(folder) / "data"):
        if not source.exists():
            continue
        if target.exists():
            shutil.rmtree(source)  # the last start was ended between the copy and this
            continue
        try:
            source.rename(target)
        except OSError:  # another disk
            _copy(source, target)
            shutil.rmtree(source)


def _copy(source: Path, target: Path) -> None:
    """A copy with its owners, which has its name once it is whole and on disk."""
    making = target.with_name("data.moving")
    shutil.rmtree(making, ignore_errors=True)
    answer = subprocess.run(["cp", "-a", str(source), str(making)], capture_output=True, text=True, check=False)  # noqa: S607
    if answer.returncode != 0:
        msg = f"PostgreSQL's data can't be moved from {source} to {target}: {answer.stderr.strip()}"
        raise PlatformError(msg)
    os.sync()
    making.rename(target)
    sync_folder(target.parent)


def _formerly(folder: Path) -> Path:
    """Where earlier versions kept the data of a home that others can't reach."""
    return FORMERLY / f"velib-dagster-{os.geteuid()}" / hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def programs_for(programs: Path) -> Path:
    """The folder of PostgreSQL's programs itself where it can be reached, else that of a copy.

    The programs of the wheel find their libraries beside the package, so both are copied, at the same distance.

    Raises:
        PlatformError: no folder for the copy can be made.
    """
    if is_reachable(programs):
        return programs
    install, package = programs.parent, programs.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    version = f"{(programs / 'postgres').stat().st_mtime_ns:x}"
    target = common_folder() / f"programs-{version}"
    if not target.exists():
        making = target.with_suffix(f".{os.getpid()}")
        shutil.copytree(install, making / package.name / install.name)
        if libraries.is_dir():
            shutil.copytree(libraries, making / libraries.name)
        for made in (making, making / package.name):
            made.chmod(0o755)
        making.rename(target)
    return target / package.name / install.name / programs.name
