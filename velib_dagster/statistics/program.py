"""Which program computes the statistics: a day in doubt is tried at once when it has changed."""

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

_LIBRARIES: Final = ("pyspark", "duckdb", "pyarrow")


@cache
def program() -> str:
    """The package's version and a hash of what computes and proves the days: this folder's files, and the libraries.

    The version alone would not change with each commit of a clone.
    """
    digest = hashlib.sha256()
    for name, content in sorted(_sources(files("velib_dagster.statistics"))):
        digest.update(name.encode())
        digest.update(content)
    for library in _LIBRARIES:
        digest.update(version(library).encode())
    return f"{version('velib-dagster')} {digest.hexdigest()[:12]}"


def _sources(folder: Traversable, within: str = "") -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for one in folder.iterdir():
        if one.is_dir():
            found += _sources(one, f"{within}{one.name}/")
        elif one.name.endswith((".py", ".sql")):
            found.append((within + one.name, one.read_bytes()))
    return found
