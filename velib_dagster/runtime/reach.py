"""Places that another user can reach, for a root who can keep no privilege for PostgreSQL (some containers).

Nothing's permissions are ever changed here but those of folders made here. Only `postgres.py` calls it.
"""

import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from velib_dagster.runtime.errors import PlatformError

COMMON: Final = Path("/var/tmp")  # noqa: S108 - survives a restart, and every user can reach it
"""Where things go that must be reachable and outlive a restart."""


def is_reachable(path: Path) -> bool:
    """Whether every folder on the way lets other users pass."""
    existing = next(part for part in (path, *path.parents) if part.exists())
    return all(part.stat().st_mode & stat.S_IXOTH for part in (existing, *existing.parents) if part.is_dir())


def common_folder() -> Path:
    """A folder of this user's below `COMMON`, which others may pass but not list.

    Raises:
        PlatformError: somebody else made it first.
    """
    folder = COMMON / f"velib-dagster-{os.geteuid()}"
    folder.mkdir(mode=0o711, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.geteuid() or not stat.S_ISDIR(state.st_mode):
        msg = f"{folder} belongs to somebody else: remove it"
        raise PlatformError(msg)
    folder.chmod(0o711)
    return folder


def folder_for(path: Path) -> Path:
    """`path` itself where it can be reached, else a folder in its stead, the same at every start."""
    if is_reachable(path):
        return path
    return common_folder() / hashlib.sha256(str(path).encode()).hexdigest()[:16]


def programs_for(programs: Path) -> Path:
    """The folder of PostgreSQL's programs itself where it can be reached, else that of a copy.

    The programs of the wheel find their libraries beside the package, so both are copied, at the same distance.
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
