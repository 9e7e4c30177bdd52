"""Connections to the feed's database, as its owner or as the read-only role.

The one place that opens connections and words their failure; every writer and reader comes here.
No statement of the schema belongs here (`migrate.py`, `upsert.py`, `reads.py`).
"""

from typing import Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from velib_dagster.settings import Settings, VelibError

CONNECT_SECONDS: Final = 5
READER_SECRET: Final = "postgres_reader"  # noqa: S105 - the name of a file, not a password


class StoreError(VelibError):
    """PostgreSQL can't be used as asked; the message says what happened, where, and what to do."""


class StoreUnreachableError(StoreError):
    """No connection could be made: the server is away, or refuses the login. Trying again later may help."""


def reader_role(settings: Settings) -> str:
    """Name of the read-only role: roles belong to the whole server, hence the feed in the name."""
    return f"{settings.feed.name}_reader"


def connect(
    settings: Settings, *, readonly: bool = False, database: str | None = None
) -> psycopg.Connection[tuple[object, ...]]:
    """A connection to the feed's database (or another one of the same server), in UTC.

    `readonly` logs in as the read-only role, whose session is in the feed's time zone.

    Raises:
        StoreUnreachableError: no answer, or the login is refused; the words carry no password.
    """
    address = dsn(settings) if readonly else settings.postgres(database)
    parts = conninfo_to_dict(address)
    where = f"{parts.get('host')}:{parts.get('port')}, database {parts.get('dbname')}, user {parts.get('user')}"
    try:
        connection = psycopg.connect(
            address, connect_timeout=CONNECT_SECONDS, application_name="velib", keepalives_idle=30
        )
        if not readonly:
            connection.execute("SET TIME ZONE 'UTC'")
            connection.commit()
    except psycopg.OperationalError as error:
        reason = str(error).strip()
        if parts.get("password"):
            reason = reason.replace(str(parts["password"]), "***")
        msg = f"PostgreSQL can't be reached at {where}: {reason}. Is it started (velib up), or VELIB_POSTGRES right?"
        # The cause is left out of the chain: its traceback would print the address with the password.
        raise StoreUnreachableError(msg) from None
    return connection


def dsn(settings: Settings) -> str:
    """The read-only address of the feed's database for psql and BI tools, with the read-only role's password."""
    parts = conninfo_to_dict(settings.postgres())
    login = f"{quote(reader_role(settings))}:{quote(settings.secret(READER_SECRET), safe='')}"
    place = f"{parts.pop('host')}:{parts.pop('port')}/{parts.pop('dbname')}"
    rest = {key: str(value) for key, value in parts.items() if key not in {"user", "password"}}
    return f"postgresql://{login}@{place}" + (f"?{urlencode(rest)}" if rest else "")
