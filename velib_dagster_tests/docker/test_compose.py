"""The compose file says what the platform needs, and nothing that isn't there."""

import re
from pathlib import PurePosixPath

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from velib_dagster.cli import app
from velib_dagster.runtime import dagster_services, kafka
from velib_dagster.runtime.health import CHECKS
from velib_dagster.runtime.jars import expected
from velib_dagster.runtime.serve import SERVED
from velib_dagster.settings import PORT_NAMES, Settings
from velib_dagster_tests.docker.composed import (
    FOLDER,
    Compose,
    MissingVariableError,
    Service,
    compose,
    image_environment,
    properties,
    text,
    variables,
)

PASSWORD = {"VELIB_POSTGRES_PASSWORD": "some"}


@pytest.fixture(scope="module")
def file() -> Compose:
    return compose(PASSWORD)


def ours(file: Compose) -> dict[str, Service]:
    return {name: service for name, service in file.services.items() if service.build}


def test_it_refuses_to_start_without_a_password() -> None:
    for given in ({}, {"VELIB_POSTGRES_PASSWORD": ""}):
        with pytest.raises(MissingVariableError, match="VELIB_POSTGRES_PASSWORD: set it in"):
            compose(given)


def test_no_password_stands_in_the_files() -> None:
    written = re.compile(r"(?i)(password|secret|token)\w*[ \t]*[:=][ \t]*(?!\$\{)[\w\"']")
    assert [path.name for path in FOLDER.iterdir() if written.search(path.read_text())] == []


def test_the_example_explains_each_variable_and_has_its_default() -> None:
    blocks = (FOLDER / ".env.example").read_text().split("\n\n")
    given: dict[str, str] = {}
    for block in blocks[1:]:
        assert block.startswith("#"), f"unexplained: {block}"
    for line in "\n".join(blocks).splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            given[name] = value
    assert set(given) == variables()
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text()))
    assert defaults == {name: value for name, value in given.items() if name != "VELIB_POSTGRES_PASSWORD"}


def test_the_live_feed_is_polled_unless_told_otherwise(file: Compose) -> None:
    assert {service.environment["VELIB_FEED"] for service in ours(file).values()} == {"live"}


def test_every_variable_is_one_that_the_settings_read(file: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**image_environment(), **ours(file)["standby"].environment}
    for name, value in given.items():
        if name.startswith("VELIB_"):
            monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("VELIB_POSTGRES_PASSWORD", "p@ss/w:rd%")
    settings = Settings.load()
    assert settings.host == "0.0.0.0"  # noqa: S104 - inside a container
    assert settings.kafka == "kafka:9092"
    assert settings.postgres("some") == "postgresql://platform:p%40ss%2Fw%3Ard%25@postgres:5432/some"
    assert (settings.mlflow, settings.mlflow_page) == ("http://mlflow:5000", "http://localhost:5000")
    assert settings.ports == {"dagster": 3000, "dagster_code": 4000, "mlflow": 5000}
    assert settings.dagster_public == ()
    assert str(settings.dagster_files) == given["VELIB_DAGSTER_FILES"]
    assert dagster_services.environment(settings)["VELIB_DAGSTER_STORAGE"].startswith("postgresql+psycopg2://")


def test_every_command_and_health_check_exists(file: Compose) -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    for name, service in ours(file).items():
        assert service.command
        assert service.command[0] == "velib"
        assert service.command[1] in commands, name
        assert CliRunner().invoke(app, [*service.command[1:], "--help"]).exit_code == 0
        if service.command[1] == "serve":
            assert service.command[2] in SERVED
        if name != "prepare":
            assert service.healthcheck.test
            assert service.healthcheck.test[:3] == ["CMD", "velib", "health"], name
            assert service.healthcheck.test[3] in CHECKS


def test_each_part_has_a_service_of_its_own(file: Compose) -> None:
    asked = [service.healthcheck.test[3] for service in ours(file).values() if service.healthcheck.test]
    assert sorted(asked) == sorted(set(CHECKS) - {"home"})


def test_only_the_pages_are_published_and_on_loopback(file: Compose) -> None:
    published = {name: service.ports for name, service in file.services.items() if service.ports}
    assert published == {"mlflow": ["127.0.0.1:5000:5000"], "dagster-web": ["127.0.0.1:3000:3000"]}


def test_ports_inside_are_those_that_parts_listen_on(file: Compose) -> None:
    ports = dict(item.split("=") for item in str(ours(file)["mlflow"].environment["VELIB_PORTS"]).split(","))
    assert set(ports) <= set(PORT_NAMES)
    inside = {name: service.ports[0].rpartition(":")[2] for name, service in file.services.items() if service.ports}
    assert inside == {"mlflow": ports["mlflow"], "dagster-web": ports["dagster"]}


def test_everything_starts_behind_what_it_needs(file: Compose) -> None:
    for service in file.services.values():
        for needed, how in service.depends_on.items():
            assert needed in file.services
            if how.condition == "service_healthy":
                assert file.services[needed].healthcheck.test, f"{needed} has no health check to wait for"
    assert set(file.services["prepare"].depends_on) == {"kafka", "postgres"}
    for name, service in ours(file).items():
        if name != "prepare":
            assert service.depends_on["prepare"].condition == "service_completed_successfully"


def test_every_service_has_a_limit_a_policy_and_a_log_that_ends(file: Compose) -> None:
    for name, service in file.services.items():
        assert service.restart == ("no" if name == "prepare" else "unless-stopped"), name
        assert service.logging.options["max-size"]
        assert service.logging.options["max-file"]
        assert service.init, f"{name} would leave its dead children"


def test_every_volume_is_declared_and_used(file: Compose) -> None:
    used = {volume.partition(":")[0] for service in file.services.values() for volume in service.volumes}
    assert used == set(file.volumes)
    home = image_environment()["VELIB_HOME"]
    for service in ours(file).values():
        assert service.volumes == [f"home:{home}"]
        assert PurePosixPath(str(service.environment["VELIB_HOME"])) == PurePosixPath(home)


def test_kafka_is_set_as_on_a_laptop(file: Compose) -> None:
    laptop = dict(line.split("=", 1) for line in kafka._PROPERTIES.splitlines() if line and not line.startswith("#"))
    server = properties(file.services["kafka"].environment)
    assert set(server) - set(laptop) == {"log.dirs"}
    places = {"node.id", "controller.quorum.voters", "listeners", "advertised.listeners", "log.dir"}
    # The containers' own network has no other users: no login there.
    login = {"listener.security.protocol.map", "inter.broker.listener.name"}
    login |= {name for name in laptop if "sasl" in name}
    alike = set(laptop) - places - login
    assert {name: server.get(name) for name in alike} == {name: laptop[name] for name in alike}
    version = file.services["kafka"].image.rpartition(":")[2]
    assert f"kafka-clients-{version}.jar" in expected()["kafka"]
    assert server["log.dir"] == server["log.dirs"] == file.services["kafka"].volumes[0].partition(":")[2]


def test_the_order_of_text_does_not_depend_on_the_image_s_c_library(file: Compose) -> None:
    """Another base image brings other collations, under which indexes on text would be out of order."""
    arguments = file.services["postgres"].environment["POSTGRES_INITDB_ARGS"].split()
    assert "--locale=C" in arguments


def test_dagster_is_set_as_on_a_laptop() -> None:
    assert yaml.safe_load((FOLDER / "dagster.yaml").read_text()) == yaml.safe_load(dagster_services._INSTANCE)


def test_the_workspace_finds_the_code_server_under_the_same_name(file: Compose) -> None:
    [location] = yaml.safe_load((FOLDER / "workspace.yaml").read_text())["load_from"]
    server = location["grpc_server"]
    assert server["location_name"] == dagster_services.LOCATION
    assert server["host"] in file.services
    assert file.services[server["host"]].command == ["velib", "serve", "dagster_code"]
    assert f"dagster_code={server['port']}" in str(file.services[server["host"]].environment["VELIB_PORTS"])
