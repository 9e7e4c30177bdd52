"""Which authorities this machine trusts, for programs that bring their own list: requests, and Java from PyPI.

Behind a proxy that inspects, as authorities and companies have them, only the machine's own list has the right one.
"""

import os
import ssl
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

_NAMED: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
"""Variables that name a bundle, for one program or another; who set one means all."""
_USUAL: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def bundle(environment: MutableMapping[str, str] = os.environ) -> Path | None:
    """The file with the authorities' certificates (PEM): one that the environment names, else the system's."""
    candidates = [environment.get(name) for name in _NAMED]
    candidates += [ssl.get_default_verify_paths().cafile, *_USUAL]
    return next((Path(name) for name in candidates if name and Path(name).is_file()), None)


def trust_the_machine(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make requests, here and in every process started from here, trust what this machine trusts."""
    if environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE"):
        return  # requests knows these itself
    found = bundle(environment)
    if found is not None:
        environment["REQUESTS_CA_BUNDLE"] = str(found)
