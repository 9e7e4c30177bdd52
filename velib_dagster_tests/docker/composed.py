"""docker/compose.yaml as the Compose specification has it: its model, as strict as we use it, and its variables.

Written from the specification (compose-spec.io): unknown keys and wrong types are errors. Tests only read it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker"
Duration = Annotated[str, msgspec.Meta(pattern=r"^(\d+(us|ms|s|m|h))+$")]
Size = Annotated[str, msgspec.Meta(pattern=r"^\d+[bkmg]b?$")]
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A mapping that may have no other keys."""


class Build(Strict):
    context: str
    dockerfile: str


class Logging(Strict):
    driver: str
    options: dict[str, str]


class Dependency(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]
    restart: bool = False
    required: bool = True


class Healthcheck(Strict):
    test: Annotated[list[str], msgspec.Meta(min_length=2)] | None = None
    interval: Duration = "30s"
    timeout: Duration = "30s"
    retries: int = 3
    start_period: Duration = "0s"
    start_interval: Duration = "5s"
    disable: bool = False


class Service(Strict):
    image: str
    environment: dict[str, str | int]
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    logging: Logging
    mem_limit: Size
    healthcheck: Healthcheck
    build: Build | None = None
    command: list[str] | None = None
    init: bool = False
    security_opt: list[str] = []
    volumes: list[str] = []
    ports: list[str] = []
    depends_on: dict[str, Dependency] = {}
    shm_size: Size | None = None
    stop_signal: str = "SIGTERM"
    stop_grace_period: Duration = "10s"


class Volume(Strict):
    name: str | None = None


class Compose(Strict):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    services: dict[str, Service]
    volumes: dict[str, Volume]


class MissingVariableError(Exception):
    """Compose would refuse to start, with these words."""


def text() -> str:
    return (FOLDER / "compose.yaml").read_text(encoding="utf-8")


def variables() -> set[str]:
    """Names of the variables that the file takes from its surroundings."""
    return {match[1] for match in _VARIABLE.finditer(text())}


def compose(environment: Mapping[str, str]) -> Compose:
    """The file with its variables filled in.

    Raises:
        MissingVariableError: a required one is missing or empty.
        msgspec.ValidationError: the file is not as the specification has it.
    """

    def value(match: "re.Match[str]") -> str:
        name, sign, words = match.groups()
        found = environment.get(name, "")
        if not found and sign == "?":
            raise MissingVariableError(f"{name}: {words}")
        return found or (words if sign == "-" else "")

    def filled(node: object) -> object:
        if isinstance(node, dict):
            return {key: filled(item) for key, item in node.items() if not str(key).startswith("x-")}
        if isinstance(node, list):
            return [filled(item) for item in node]
        return _VARIABLE.sub(value, node) if isinstance(node, str) else node

    return msgspec.convert(filled(yaml.safe_load(text())), Compose)


def image_environment() -> dict[str, str]:
    """The variables that the Dockerfile's last stage sets."""
    last = (FOLDER / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[-1].replace("\\\n", " ")
    lines = [line.removeprefix("ENV ") for line in last.splitlines() if line.startswith("ENV ")]
    return dict(item.split("=", 1) for line in lines for item in line.split())


def properties(environment: Mapping[str, str | int]) -> dict[str, str]:
    """The broker's properties that Kafka's image makes of its variables: KAFKA_LOG_DIR → log.dir."""
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name != "KAFKA_HEAP_OPTS"
    }
