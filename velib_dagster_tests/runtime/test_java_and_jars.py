"""The system's Java or PyPI's, and jars that are the expected ones to the byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from velib_dagster.runtime import jars, java, kafka
from velib_dagster.runtime.errors import PlatformError
from velib_dagster.runtime.new_home import set_up
from velib_dagster.runtime.process import running
from velib_dagster.settings import Feed, Settings, cache_root


@pytest.fixture
def pypi_java(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Java from PyPI, as where the system has none."""
    monkeypatch.setenv("VELIB_JAVA", "pypi")
    return java.java_home()


def fake_java(folder: Path, version: str) -> str:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    said = f"    java.home = {folder}\n    java.specification.version = {version}"
    program.write_text(f"#!/bin/sh\ncat >&2 <<END\n{said}\nEND\n")
    program.chmod(0o755)
    return str(program)


def test_a_system_java_counts_from_version_17_on(tmp_path: Path) -> None:
    assert java.system_home(fake_java(tmp_path / "new", "17")) == tmp_path / "new"
    assert java.system_home(fake_java(tmp_path / "old", "11")) is None
    assert java.system_home(fake_java(tmp_path / "oldest", "1.8")) is None
    assert java.system_home(str(tmp_path / "none")) is None


def test_without_a_system_java_the_one_from_pypi_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert java.java_home() == cache_root() / "java"


def test_java_home_is_preferred_to_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_java(tmp_path / "mine", "21")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "mine"))
    assert java.java_home() == tmp_path / "mine"


def test_pypis_java_starts_with_the_option_that_spark_adds(pypi_java: Path) -> None:
    program = pypi_java / "bin" / "java"
    subprocess.run([program, "--add-modules=jdk.incubator.vector", "-version"], check=True, capture_output=True)


@pytest.mark.kafka
def test_the_broker_runs_on_pypis_java(pypi_java: Path, tmp_path: Path) -> None:
    settings = set_up(Settings(home=tmp_path / "home", feed=Feed("f", "")))
    part = kafka.broker(settings)
    assert part.argv[0] == str(pypi_java / "bin" / "java")
    with running(part, settings.home):
        assert kafka.is_ready(settings)


@pytest.mark.spark
def test_spark_runs_on_pypis_java(pypi_java: Path) -> None:
    code = (
        "from pyspark.sql import SparkSession;"
        "s=SparkSession.builder.master('local[1]').config('spark.ui.enabled','false').getOrCreate();"
        "print(s.range(5).count(), s._jvm.System.getProperty('java.version'))"
    )
    environment = {**os.environ, "JAVA_HOME": str(pypi_java)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("5 25")


def test_pypis_java_trusts_the_systems_authorities(pypi_java: Path, tmp_path: Path) -> None:
    del pypi_java
    options = java.trust_options(tmp_path)
    if not options:
        pytest.skip("this system names no file of certificate authorities")
    listing = subprocess.run(
        [java.java(), *options, "-XshowSettings:security:tls", "-version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert listing.returncode == 0, listing.stderr
    assert (tmp_path / "trust.p12").stat().st_size > 1000


def test_a_changed_jar_is_noticed_by_name(tmp_path: Path) -> None:
    library = jars.ensure_jars(cache_root())
    assert not jars.differing(library)
    for group in ("kafka", "spark"):
        (tmp_path / group).mkdir()
        for path in (library / group).iterdir():
            (tmp_path / group / path.name).symlink_to(path)
    changed = tmp_path / "spark" / "kafka-clients-3.9.2.jar"
    changed.unlink()
    changed.write_bytes(b"other")
    assert jars.differing(tmp_path) == [changed]


def test_no_network_and_no_cache_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VELIB_MAVEN_REPOSITORY", "http://127.0.0.1:9/")
    with pytest.raises(PlatformError, match="could not be fetched from the Maven repository"):
        jars.ensure_jars(tmp_path)


def test_a_mirror_in_mavens_settings_is_used(tmp_path: Path) -> None:
    settings = tmp_path / "settings.xml"
    settings.write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror><id>m</id>'
        "<mirrorOf>central</mirrorOf><url>http://127.0.0.1:9/maven</url></mirror></mirrors></settings>"
    )
    assert jars.mirror_in(settings) == "http://127.0.0.1:9/maven"
    assert jars.mirror_in(tmp_path / "none.xml") is None
