"""Which ports a home's parts listen on: chosen free once, kept in the home's file, checked before each start.

It must not start anything; the supervisor and the tests call it.
"""

import random
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from velib_dagster.runtime.errors import PlatformError
from velib_dagster.settings import LOOPBACK, PORT_NAMES, Settings

CHOICE: Final = range(20_000, 30_000)
"""Below the range that systems hand out to outgoing connections, which could take a chosen port for a while."""


def is_free(port: int) -> bool:
    """Whether a part could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def with_ports(settings: Settings, choose: Callable[[], int] | None = None) -> Settings:
    """The settings with a port for every part; those that the home already has stay, so saved links go on working.

    Raises:
        PlatformError: no free port was found.
    """
    pick = choose or (lambda: random.choice(CHOICE))  # noqa: S311 - a port is no secret
    ports = dict(settings.ports)
    for name in PORT_NAMES:
        if name in ports:
            continue
        for _ in range(1000):
            port = pick()
            if port not in ports.values() and is_free(port):
                ports[name] = port
                break
        else:
            msg = f"no free port for {name} between {CHOICE.start} and {CHOICE.stop - 1}: stop what uses them"
            raise PlatformError(msg)
    return replace(settings, ports=ports)


def demand_free(part: str, ports: tuple[int, ...]) -> None:
    """Refuse to start a part whose port somebody else has: it would answer in the part's place.

    Raises:
        PlatformError: names the part and the port.
    """
    for port in ports:
        if not is_free(port):
            msg = (
                f"{part} can't start: its port {port} on {LOOPBACK} is taken by another program. "
                f"Stop that program, or change the port in the home's home.json"
            )
            raise PlatformError(msg)
