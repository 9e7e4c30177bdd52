"""How clients log in to Kafka, in the words of librdkafka and of Spark's Java client.

Our own broker asks for a generated password; for a Kafka of one's own `VELIB_KAFKA_SECURITY` names a file. Nothing here
connects. Called by `topics.client_config`, the streaming job, and `runtime/kafka.py` for the broker's side.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from velib_dagster.settings import Settings, SettingsError

USER: Final = "platform"
"""Who the platform is to its own broker; the password is the home's secret `kafka`."""

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_LOGIN_MODULES: Final = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
"""Mechanism → its class in Java's client. Others (Kerberos, OAuth) need more than a name and a password."""
_FILES: Final = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
_NAMES: Final = (
    *("security.protocol", "sasl.mechanism", "sasl.username", "sasl.password"),
    *(*_FILES, "ssl.key.password", "ssl.endpoint.identification.algorithm"),
)
"""What the file may set, by librdkafka's names
(github.com/confluentinc/librdkafka, CONFIGURATION.md)."""


def client_security(settings: Settings) -> dict[str, str]:
    """What a client of librdkafka needs to log in; empty for a Kafka of one's own that asks for nothing.

    Raises:
        SettingsError: the file of `VELIB_KAFKA_SECURITY` can't be read or used; its values are never quoted.
    """
    if settings.kafka_address is None:
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": settings.secret("kafka"),
        }
    if settings.kafka_security is None:
        return {}
    return _from_file(settings.kafka_security)


def java_security(settings: Settings) -> dict[str, str]:
    """The same for Java's client, which Spark uses: certificates as PEM, name and password as a line of JAAS.

    The names are those of kafka.apache.org, "Security"; Spark takes them behind `kafka.`.

    Raises:
        SettingsError: as `client_security`, or a certificate's file can't be read.
    """
    given = client_security(settings)
    same = ("security.protocol", "sasl.mechanism", "ssl.key.password")
    found: dict[str, str] = {name: given[name] for name in same if name in given}
    if mechanism := given.get("sasl.mechanism"):
        found["sasl.jaas.config"] = login_line(mechanism, given["sasl.username"], given["sasl.password"])
    if authority := given.get("ssl.ca.location"):
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": authority}
    if certificate := given.get("ssl.certificate.location"):
        found |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": _text(Path(certificate)),
            "ssl.keystore.key": _text(Path(given["ssl.key.location"])),
        }
    if (algorithm := given.get("ssl.endpoint.identification.algorithm")) is not None:
        found["ssl.endpoint.identification.algorithm"] = "" if algorithm == "none" else algorithm
    return found


def login_line(mechanism: str, user: str, password: str, users: Mapping[str, str] | None = None) -> str:
    """A line of JAAS: who logs in and, on a broker of PLAIN, `users` who may (name → password)."""
    options = {"username": user, "password": password, **{f"user_{name}": word for name, word in (users or {}).items()}}
    written = " ".join(f"{name}={_quoted(value)}" for name, value in options.items())
    return f"{_LOGIN_MODULES[mechanism]} required {written};"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _from_file(path: Path) -> dict[str, str]:
    """The settings of the file, one `name=value` a line; paths in it are relative to it."""
    found: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in _NAMES:
            said = f"{name!r} is unknown" if equals else "there is no ="
            msg = f"{path}, line {number}: {said}; it takes {', '.join(_NAMES)}"
            raise SettingsError(msg)
        found[name] = str((path.parent / value).absolute()) if name in _FILES else value
    if trouble := _trouble(found):
        msg = f"{path}: {trouble}"
        raise SettingsError(msg)
    return found


def _trouble(given: Mapping[str, str]) -> str | None:
    """What is wrong between the settings, in words."""
    protocol = given.get("security.protocol")
    if protocol not in _PROTOCOLS:
        return f"security.protocol must be one of {', '.join(_PROTOCOLS)}"
    login = ("sasl.mechanism", "sasl.username", "sasl.password")
    if protocol.startswith("SASL"):
        missing = [name for name in login if not given.get(name)]
        if missing:
            return f"{protocol} needs {', '.join(missing)}"
        if given["sasl.mechanism"] not in _LOGIN_MODULES:
            return f"sasl.mechanism must be one of {', '.join(_LOGIN_MODULES)}"
    elif any(name in given for name in login):
        return f"a login needs security.protocol=SASL_SSL or SASL_PLAINTEXT, not {protocol}"
    if ("ssl.certificate.location" in given) != ("ssl.key.location" in given):
        return "ssl.certificate.location and ssl.key.location go together"
    lost = [name for name in _FILES if name in given and not Path(given[name]).is_file()]
    return f"{lost[0]} names no file: {given[lost[0]]}" if lost else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        msg = f"{path} (VELIB_KAFKA_SECURITY) can't be read: {why}"
        raise SettingsError(msg) from error
