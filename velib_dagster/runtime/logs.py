"""The parts' log files: kept from growing without end, and quoted when a part fails.

What a part writes is its own affair; the supervisor and `process.py` call this.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 20_000_000
STANDARD_ERROR: Final = 2


def log_path(home: Path, name: str) -> Path:
    """Log file of a part of the platform in this home."""
    return home / "logs" / f"{name}.log"


def rotate(path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Keep one older piece of a log that has grown too long.

    Copied and cut rather than renamed, since the part goes on writing to the file it opened (for appending, so the
    cut leaves no hole).
    """
    if path.exists() and path.stat().st_size > most_bytes:
        shutil.copyfile(path, path.with_suffix(".log.1"))
        with path.open("r+b") as file:
            file.truncate(0)


def last_lines(path: Path, lines: int = 6, within: int = 8192) -> str:
    """The end of a log, for an error message; empty where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - within))
        text = file.read().decode(errors="replace")
    # Java's lines of where it was say nothing to who runs a platform.
    told = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    return "\n".join(told[-lines:])


@contextmanager
def standard_error_in(path: Path) -> Iterator[None]:
    """While it lasts, standard error goes to the end of a log: of this process, and of a Java for as long as it lives.

    Spark's Java says at its start what nobody at a terminal has asked for, partly before any setting of ours is read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rotate(path)
    usual = os.dup(STANDARD_ERROR)
    try:
        with path.open("ab") as log:
            os.dup2(log.fileno(), STANDARD_ERROR)
        yield
    finally:
        os.dup2(usual, STANDARD_ERROR)
        os.close(usual)
