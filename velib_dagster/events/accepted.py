"""How far an operator has accepted that what can't be processed is passed over: a small file in the home.

Up to there the limits of `set_aside.py` and `readable.py` don't stop the chain. Written by `velib set-aside --accept`.
"""

from pathlib import Path
from typing import Final

import msgspec

from velib_dagster.files import write_atomically
from velib_dagster.settings import Settings, VelibError

_FILE: Final = "accepted.json"


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Raw snapshots up to the name `snapshot`, and the records below an offset of each topic (by its short name)."""

    snapshot: str = ""
    offsets: dict[str, int] = {}


def read_accepted(settings: Settings) -> Accepted:
    """What was accepted so far: nothing where nobody did.

    Raises:
        VelibError: the file can't be read.
    """
    path = _path(settings)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Accepted)
    except FileNotFoundError:
        return Accepted()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"{path} can't be read ({error}): mend it, or delete it and run velib set-aside --accept again"
        raise VelibError(msg) from error


def write_accepted(settings: Settings, accepted: Accepted) -> None:
    """Make it count, durably, for all parts of the home's platform."""
    write_atomically(_path(settings), msgspec.json.encode(accepted))


def _path(settings: Settings) -> Path:
    return settings.home / _FILE
