"""Days in doubt as PostgreSQL keeps them."""

import pytest

from velib_dagster.store.doubts import clear_doubts, days_in_doubt, put_in_doubt
from velib_dagster.store.upsert import Connection
from velib_dagster_tests.store.make_days import DAY, NEXT

pytestmark = pytest.mark.postgres


def test_tries_of_the_same_bytes_by_the_same_program_count_up_and_others_anew(connection: Connection) -> None:
    first = put_in_doubt(connection, DAY, 100, "one", "numbers differ")
    assert (first.tries, first.since) == (1, first.tried_at)
    connection.commit()
    second = put_in_doubt(connection, DAY, 100, "one", "numbers still differ")
    assert (second.tries, second.since, second.reason) == (2, first.since, "numbers still differ")
    assert second.tried_at > first.tried_at
    assert put_in_doubt(connection, DAY, 101, "one", "").tries == 1
    assert put_in_doubt(connection, DAY, 101, "two", "").tries == 1
    put_in_doubt(connection, NEXT, 5, "two", "")
    assert [(row.day, row.tries) for row in days_in_doubt(connection)] == [(DAY, 1), (NEXT, 1)]


def test_a_day_that_is_proved_is_in_doubt_no_more(connection: Connection) -> None:
    put_in_doubt(connection, DAY, 100, "one", "")
    put_in_doubt(connection, NEXT, 100, "one", "")
    clear_doubts(connection, [DAY])
    clear_doubts(connection, [])
    assert [row.day for row in days_in_doubt(connection)] == [NEXT]
