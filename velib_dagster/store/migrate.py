"""The database's schema: makes the database, runs missing migrations, sets comments and the read-only role.

Statements of the schema stand in `migrations/NNNN_name.sql` and are never changed once released; what columns
mean stands in `columns.py`. Called at the start of every part that writes, so two at once are usual.
"""

import re
from dataclasses import dataclass
from importlib import resources
from typing import Final, cast

import psycopg
from psycopg import sql

from velib_dagster.settings import Settings
from velib_dagster.store.columns import RELATIONS, Relation
from velib_dagster.store.connect import READER_SECRET, StoreError, StoreUnreachableError, connect, reader_role
from velib_dagster.store.forecast_columns import FORECAST_FUNCTIONS, FORECASTS
from velib_dagster.store.ownership import claim
from velib_dagster.store.statistics_columns import FUNCTIONS, STATISTICS, Function

_LOCK: Final = 0x76656C6962
"""Key of the advisory lock that lets one migration at a time into a database."""

_CREATE_VERSION_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True)
class Migration:
    """One numbered file of statements."""

    version: int
    name: str
    statements: str


def migrations() -> tuple[Migration, ...]:
    """The migrations that this program knows, oldest first."""
    folder = resources.files("velib_dagster.store") / "migrations"
    found = [
        Migration(int(name[1]), file.name, file.read_text())
        for file in folder.iterdir()
        if (name := re.fullmatch(r"(\d{4})_\w+\.sql", file.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.version))


def migrate(settings: Settings, known: tuple[Migration, ...] | None = None, *, adopt: bool = False) -> int:
    """Bring the feed's database to this program's schema; returns the schema's version. Nothing to do is fine.

    What counts is which migrations were applied, not the highest number: numbers may leave gaps, and one that comes
    to fill a gap later is applied then. The database remembers the home, and `adopt` gives it to this one.

    Raises:
        StoreUnreachableError: PostgreSQL is away.
        StoreError: another home writes the database, the schema is newer than this program, or the user lacks a right
            that is named.
    """
    steps = migrations() if known is None else known
    newest = steps[-1].version
    try:
        with _connect_or_create(settings) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute(_CREATE_VERSION_TABLE)
            applied = {cast("int", row[0]) for row in connection.execute("SELECT version FROM schema_version")}
            present = max(applied, default=0)
            if present > newest:
                msg = (
                    f"database {settings.database} has schema version {present}, and this program knows up to "
                    f"{newest}: use the newer program that made it"
                )
                raise StoreError(msg)
            for step in steps:
                if step.version not in applied:
                    connection.execute(step.statements.encode())
                    connection.execute(
                        "INSERT INTO schema_version (version, name) VALUES (%s, %s)", (step.version, step.name)
                    )
            claim(connection, settings, adopt=adopt)
            for relation in (
                *RELATIONS,
                *STATISTICS,
                *FORECASTS,
            ):  # each time: a description may change without a migration
                _comment(connection, relation)
            for function in (*FUNCTIONS, *FORECAST_FUNCTIONS):
                _comment_function(connection, function)
            _allow_reader(connection, settings)
    except psycopg.errors.InsufficientPrivilege as error:
        msg = (
            f"PostgreSQL refuses a step of the schema of {settings.database} ({error.diag.message_primary}): "
            "the user of VELIB_POSTGRES must own the database and may need CREATEDB and CREATEROLE"
        )
        raise StoreError(msg) from error
    return newest


def _connect_or_create(settings: Settings) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return connect(settings)
    except StoreUnreachableError as first:
        # libpq gives no code for "no such database": ask the server's own database, and fail with what it says.
        try:
            connection = connect(settings, database="postgres")
        except StoreUnreachableError:
            raise first from None
    with connection:
        connection.autocommit = True
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        name = settings.database
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(
                sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0").format(
                    sql.Identifier(name)
                )
            )
    return connect(settings)


def _comment(connection: psycopg.Connection[tuple[object, ...]], relation: Relation) -> None:
    kind = sql.SQL("VIEW" if relation.view else "TABLE")
    table = sql.Identifier(relation.name)
    statements = [
        sql.SQL("COMMENT ON {} {} IS {}").format(kind, table, sql.Literal(relation.description)),
        *(
            sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                table, sql.Identifier(column.name), sql.Literal(column.description)
            )
            for column in relation.columns
        ),
    ]
    connection.execute(sql.SQL("; ").join(statements))
    if relation.over_days:
        meaning = f"{relation.description}; over the days from_day to to_day, both included"
        _comment_function(connection, Function(relation.name, ("date", "date"), meaning))


def _comment_function(connection: psycopg.Connection[tuple[object, ...]], function: Function) -> None:
    types = sql.SQL(", ").join(sql.Identifier(name) for name in function.arguments)
    statement = sql.SQL("COMMENT ON FUNCTION {} ({}) IS {}")
    connection.execute(statement.format(sql.Identifier(function.name), types, sql.Literal(function.description)))


def _allow_reader(connection: psycopg.Connection[tuple[object, ...]], settings: Settings) -> None:
    name = reader_role(settings)
    role = sql.Identifier(name)
    database = sql.Identifier(settings.database)
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    # Hashed here, so that no log of the server ever holds the password.
    hashed = connection.pgconn.encrypt_password(
        settings.secret(READER_SECRET).encode(), name.encode(), b"scram-sha-256"
    ).decode()
    for statement in (
        "ALTER ROLE {role} LOGIN PASSWORD {password}",
        "ALTER ROLE {role} IN DATABASE {database} SET search_path = public",
        "ALTER ROLE {role} IN DATABASE {database} SET timezone = {timezone}",
        "ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = on",
        # Compiling the many expressions of a statistics query takes longer than running it.
        "ALTER ROLE {role} IN DATABASE {database} SET jit = off",
        "GRANT CONNECT ON DATABASE {database} TO {role}",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
        # Everybody's by default; a server may have taken that away.
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}",
    ):
        connection.execute(
            sql.SQL(statement).format(
                role=role,
                database=database,
                password=sql.Literal(hashed),
                timezone=sql.Literal(settings.feed.timezone),
            )
        )
