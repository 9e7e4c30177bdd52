"""What the tests of every folder share: the recorded data, a real broker, a real PostgreSQL, a real Spark session.

Each starts at its first use, serves the whole test session and is stopped at its end. A test that needs topics or a
database of its own asks `fresh_feed` for settings with another feed name. No test's own logic belongs here.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from velib_dagster.settings import Feed, Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from xdist.scheduler import LoadScopeScheduling

hypothesis.settings.register_profile("suite", deadline=None)  # what is right is right on a busy machine too
hypothesis.settings.load_profile("suite")

QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
"""A Java for small data: most of a short session's time would go into compiling what runs once."""
SMALL_DATA = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
"""Settings of Spark for tables of a few rows, in which compiling a query takes longer than running it."""

OWN_PLATFORMS = {"docker", "end_to_end", "runtime"}
"""Folders whose tests start platforms or parts of their own, and mostly wait for them."""

KEPT_VARIABLES = {"VELIB_JAVA", "VELIB_MAVEN_REPOSITORY", "VELIB_PG_BIN"}
"""Settings of the machine rather than of a platform: they stay in force under the tests."""


HEAVY_MARKERS = {"spark", "kafka", "postgres", "browser", "platform"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with heavy tests first: the quick ones fill up what is left of the time of two processes."""
    heavy = {item.path for item in items for marker in item.iter_markers() if marker.name in HEAVY_MARKERS}
    items.sort(key=lambda item: item.path not in heavy)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    """For `pytest -n 2`: a file is run by one process, and the files that start platforms, which mostly wait, one after
    the other by the first process, while the others share the rest. Who is done helps."""
    from xdist.scheduler import LoadScopeScheduling

    def starts_platforms(file: str) -> bool:
        return bool(OWN_PLATFORMS & set(file.split("/")))

    class PlatformsBeside(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.split("::", maxsplit=1)[0]

        def _assign_work_unit(self, node: Any) -> None:
            first = node is self.nodes[0]
            wanted = next((file for file in self.workqueue if starts_platforms(file) == first), None)
            if wanted is not None:
                self.workqueue.move_to_end(wanted, last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return PlatformsBeside(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded answers and samples that lies beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded data: {folder} does not exist")
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A platform that the environment names (VELIB_HOME, VELIB_KAFKA …), or this user's own, must not be touched."""
    for name in list(os.environ):
        if name.startswith("VELIB_") and name not in KEPT_VARIABLES:
            del os.environ[name]
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))
    # Not below pytest's own folder, which is closed to PostgreSQL's user.
    with tempfile.TemporaryDirectory(prefix="velib-pg-") as folder:
        os.environ["VELIB_PG_DATA"] = folder
        yield


@pytest.fixture(scope="session")
def platform_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the session's home, with ports; nothing runs there yet."""
    from velib_dagster.runtime.ports import with_ports

    home = tmp_path_factory.mktemp("platform")
    settings = with_ports(Settings(home=home, feed=Feed("session_feed", "")))
    settings.save()
    return settings


@pytest.fixture(scope="session")
def kafka_settings(platform_settings: Settings) -> Iterator[Settings]:
    """Settings whose broker runs for the whole session."""
    from velib_dagster.runtime.kafka import broker
    from velib_dagster.runtime.process import running

    with running(broker(platform_settings), platform_settings.home):
        yield platform_settings


@pytest.fixture(scope="session")
def postgres_settings(platform_settings: Settings) -> Iterator[Settings]:
    """Settings whose PostgreSQL runs for the whole session; databases are the tests' own affair."""
    from velib_dagster.runtime.postgres import server
    from velib_dagster.runtime.process import running

    with running(server(platform_settings), platform_settings.home):
        yield platform_settings


@pytest.fixture(scope="session")
def services(kafka_settings: Settings, postgres_settings: Settings) -> Settings:
    """Settings whose broker and PostgreSQL both run for the whole session."""
    assert kafka_settings == postgres_settings
    return kafka_settings


@pytest.fixture
def kafka_login(kafka_settings: Settings, tmp_path: Path) -> Path:
    """The file for VELIB_KAFKA_SECURITY by which a platform that is given the session's broker logs in to it."""
    from velib_dagster.events.kafka_security import client_security

    path = tmp_path / "kafka.properties"
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in client_security(kafka_settings).items()))
    return path


@pytest.fixture
def fresh_feed(tmp_path: Path) -> Callable[..., Settings]:
    """Makes settings of a new feed in a new home beside the same services.

    `fresh_feed(services, every_seconds=300)`: topics and database carry a name no other test has; ports and
    passwords are those of the settings given. Further arguments change the feed.
    """

    def make(settings: Settings, **changes: Any) -> Settings:
        name = changes.pop("name", f"t_{uuid.uuid4().hex[:10]}")
        home = tmp_path / f"home_{name}"
        fresh = replace(settings, home=home, feed=replace(settings.feed, name=name, **changes))
        fresh.save()
        if (settings.home / "secrets").is_dir():
            shutil.copytree(settings.home / "secrets", home / "secrets")
        return fresh

    return make


@pytest.fixture(scope="session")
def spark() -> Iterator["SparkSession"]:
    """One Spark session: two threads, two shuffle partitions, UTC, with the Kafka connector."""
    from pyspark.sql import SparkSession

    from velib_dagster.runtime.jars import spark_jars
    from velib_dagster.runtime.java import java_home

    os.environ["JAVA_HOME"] = str(java_home())
    builder = (
        SparkSession.builder.master("local[2]")
        .appName("velib-tests")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.extraJavaOptions", QUICK_JAVA)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.jars", ",".join(str(path) for path in spark_jars()))
    )
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def small(spark: "SparkSession") -> "SparkSession":
    """The session's Spark with settings for few rows; what runs compiled has tests of its own."""
    session = spark.newSession()
    for name, value in {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        **SMALL_DATA,
    }.items():
        session.conf.set(name, value)
    return session


@pytest.fixture(scope="session")
def spark_of_small_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a Spark started as a process of its own has the settings for few rows."""
    folder = tmp_path_factory.mktemp("spark-conf")
    lines = [f"{name} {value}" for name, value in SMALL_DATA.items()]
    (folder / "spark-defaults.conf").write_text("\n".join((*lines, f"spark.driver.extraJavaOptions {QUICK_JAVA}", "")))
    return {"SPARK_CONF_DIR": str(folder)}
