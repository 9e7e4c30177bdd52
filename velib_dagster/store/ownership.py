"""Which home writes the feed's database: two homes of one feed's name would overwrite each other's rows.

Called by `migrate.py`, at the start of every part that writes.
"""

import psycopg

from velib_dagster.settings import Settings
from velib_dagster.store.connect import StoreError


def claim(connection: psycopg.Connection[tuple[object, ...]], settings: Settings, *, adopt: bool = False) -> None:
    """Write the home down where none is, or check that it is this one.

    A server of our own lies in the home: it belongs to whoever has the folder. `adopt` takes the database from the
    home that has it.

    Raises:
        StoreError: another home writes the database; says which, and what to do.
    """
    own = settings.home_id
    if not own:
        return
    row = connection.execute("SELECT id, folder, since FROM home").fetchone()
    if row is None:
        connection.execute("INSERT INTO home (id, folder) VALUES (%s, %s)", (own, str(settings.home)))
    elif row[0] == own or adopt or settings.postgres_address is None:
        connection.execute(
            "UPDATE home SET since = CASE WHEN id = %(own)s THEN since ELSE now() END, id = %(own)s,"
            " folder = %(folder)s WHERE (id, folder) <> (%(own)s, %(folder)s)",
            {"own": own, "folder": str(settings.home)},
        )
    else:
        info = connection.info
        msg = (
            f"the database {settings.database} at {info.host}:{info.port} is written by another home, {row[1]} since "
            f"{row[2]:%Y-%m-%d %H:%M} (id {row[0]}; {settings.home} has {own}): two homes of one feed's name would "
            "overwrite each other. Use that home, or begin one with a name of its own (--name, VELIB_FEED_NAME). Where "
            "that home is gone for good: velib adopt"
        )
        raise StoreError(msg)
