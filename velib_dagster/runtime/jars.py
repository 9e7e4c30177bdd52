"""Kafka's and the Spark connector's jars: from a Maven repository, through the Ivy that pyspark ships, once.

What they are stands in `ivy.xml`, and to the byte in `jars.sha256`. Nothing is started here; Kafka, the streaming
job, statistics and tests ask for the lists.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from velib_dagster.files import write_atomically
from velib_dagster.runtime.errors import PlatformError, in_words
from velib_dagster.runtime.java import java, java_home, trust_options
from velib_dagster.settings import cache_root

Tell = Callable[[int, int], None]
"""Told how many of how many jars have come."""

_SETTINGS: Final = """<ivysettings><settings defaultResolver="given"/><resolvers>
<ibiblio name="given" m2compatible="true" root={root}/></resolvers></ivysettings>
"""


def kafka_jars(tell: Tell | None = None) -> list[Path]:
    """The jars that the broker runs from."""
    return [folder_of("kafka", tell) / name for name in sorted(expected()["kafka"])]


def spark_jars(tell: Tell | None = None) -> list[Path]:
    """The jars for `spark.jars`: Spark's Kafka connector and what it needs beyond pyspark's own."""
    return [folder_of("spark", tell) / name for name in sorted(expected()["spark"])]


def expected() -> dict[str, dict[str, str]]:
    """SHA-256 of each jar's content, by group (kafka, spark) and file name."""
    groups: dict[str, dict[str, str]] = {}
    for line in files("velib_dagster.runtime").joinpath("jars.sha256").read_text().splitlines():
        digest, _, path = line.partition("  ")
        group, _, name = path.partition("/")
        groups.setdefault(group, {})[name] = digest
    return groups


def folder_of(group: str, tell: Tell | None = None) -> Path:
    """The folder of a group's jars, all there and checked.

    Raises:
        PlatformError: they can't be fetched, or are not the expected ones.
    """
    return ensure_jars(cache_root(), tell) / group


@cache
def ensure_jars(root: Path, tell: Tell | None = None) -> Path:
    """The folder with both groups of jars, fetched if any is missing; two processes at once do it one after the other.

    Raises:
        PlatformError: as `folder_of`.
    """
    library = root / "jars"
    wrong = differing(library)
    if not wrong:
        return library
    try:
        library.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(root / "jars.lock"):
            wrong = differing(library)
            if wrong:
                for path in wrong:
                    path.unlink(missing_ok=True)
                resolve(root, library, tell)
                wrong = differing(library)
    except OSError as error:
        raise in_words(error, f"fetching jars into {library}") from error
    if wrong:
        names = ", ".join(path.name for path in wrong)
        for path in wrong:
            path.unlink(missing_ok=True)
        msg = (
            f"{len(wrong)} of the jars from the Maven repository are not those expected (SHA-256): {names}. "
            f"Empty {root / 'ivy'} and try again; if it happens again, the repository serves other files"
        )
        raise PlatformError(msg)
    return library


def differing(library: Path) -> list[Path]:
    """Jars that are missing or whose content is not the expected one."""
    return [
        library / group / name
        for group, names in expected().items()
        for name, digest in names.items()
        if not (library / group / name).exists()
        or hashlib.sha256((library / group / name).read_bytes()).hexdigest() != digest
    ]


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def resolve(root: Path, library: Path, tell: Tell | None = None) -> None:
    """Let Ivy fetch what `ivy.xml` names into `library/<group>/`.

    Raises:
        PlatformError: the repository can't be reached or lacks something; says where Ivy's words are.
    """
    import pyspark  # noqa: PLC0415 - a second to import, and rarely needed

    ivy = next((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    total = sum(len(names) for names in expected().values())
    seen: list[str] = []
    # A Java of the system's may have been told of a company's authority itself, so its own list comes first.
    own_first = (
        [[], trust_options(root / "ivy")] if java_home() != cache_root() / "java" else [trust_options(root / "ivy")]
    )
    with as_file(files("velib_dagster.runtime").joinpath("ivy.xml")) as description:
        argv = [
            *_proxy_options(),
            *("-jar", str(ivy), "-m2compatible", "-cache", str(root / "ivy"), "-ivy", str(description)),
            *_repository_options(root),
            *("-confs", "kafka", "spark", "-types", "jar", "bundle", "-retrieve"),
            f"{library}/[conf]/[artifact](-[classifier])-[revision].[ext]",
        ]
        status = 1
        for trust in own_first:
            status = _run_ivy([java(), *trust, *argv], seen, lambda done: tell and tell(min(done, total), total))
            if status == 0:
                break
    log = root / "ivy.log"
    write_atomically(log, "".join(seen).encode())
    if status != 0:
        msg = (
            "Kafka's jars are not on this machine yet and could not be fetched from the Maven repository "
            f"(its words: {log}). Connect to the network once, or name a repository that can be reached in "
            "VELIB_MAVEN_REPOSITORY"
        )
        raise PlatformError(msg)


def _run_ivy(argv: list[str], seen: list[str], on_fetched: Callable[[int], object]) -> int:
    """Ivy's exit status; its words are added to `seen`, and `on_fetched` is told how many files have come."""
    fetched = 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            seen.append(line)
            if "[SUCCESSFUL ]" in line:
                fetched += 1
                on_fetched(fetched)
    return process.returncode


def _repository_options(root: Path) -> list[str]:
    """Options for the Maven repository that the environment or Maven's own settings name; else Ivy knows its own."""
    address = os.environ.get("VELIB_MAVEN_REPOSITORY") or mirror_in(Path("~/.m2/settings.xml").expanduser())
    if not address:
        return []
    path = root / "ivysettings.xml"
    write_atomically(path, _SETTINGS.format(root=quoteattr(address.rstrip("/") + "/")).encode())
    return ["-settings", str(path)]


def mirror_in(settings: Path) -> str | None:
    """The mirror of Maven Central in a Maven settings file."""
    try:
        tree = ElementTree.parse(settings).getroot()  # noqa: S314 - the user's own file
    except (OSError, ElementTree.ParseError):
        return None
    for mirror in tree.iterfind(".//{*}mirror"):
        of = {name.strip() for name in (mirror.findtext("{*}mirrorOf") or "").split(",")}
        url = mirror.findtext("{*}url")
        if url and of & {"central", "*", "external:*"}:
            return url.strip()
    return None


def _proxy_options() -> list[str]:
    """Java's words for the proxies that the environment names."""
    options = []
    for scheme in ("http", "https"):
        variable = f"{scheme}_proxy"
        parts = urlsplit(os.environ.get(variable) or os.environ.get(variable.upper()) or "")
        if parts.hostname:
            options += [f"-D{scheme}.proxyHost={parts.hostname}", f"-D{scheme}.proxyPort={parts.port or 3128}"]
    return options


if __name__ == "__main__":  # part of `make setup`, so that the first start has nothing left to fetch
    try:
        ensure_jars(cache_root(), lambda done, total: print(f"\rKafka's and Spark's jars: {done}/{total}", end=""))
        print()
    except PlatformError as error:
        sys.exit(f"\n{error}")
