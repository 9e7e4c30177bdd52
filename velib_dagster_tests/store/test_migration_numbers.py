"""The files of migrations: each has a number of its own; no database is needed to see it."""

from velib_dagster.store.migrate import migrations


def test_no_two_migrations_have_the_same_number() -> None:
    names = {}
    for migration in migrations():
        assert migration.version not in names, f"{migration.name} and {names[migration.version]} share a number"
        names[migration.version] = migration.name
