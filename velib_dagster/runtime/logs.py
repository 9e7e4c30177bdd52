"""The parts' log files: kept from growing without end, and quoted when a part fails.

What a part writes is its own affair; the supervisor and `process.py` call this.
"""

import shutil
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 20_000_000


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
