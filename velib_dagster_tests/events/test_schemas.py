"""The published JSON Schemas say what the records are."""

import json
from pathlib import Path

import jsonschema
import pytest

from velib_dagster.events.records import columns, encode
from velib_dagster.events.schemas import TOPIC_RECORDS, schema, text
from velib_dagster.store.migrate import migrations
from velib_dagster_tests.events.test_advance import poll, report, run

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("topic", TOPIC_RECORDS)
def test_the_schema_in_docs_is_the_record_s(topic: str) -> None:
    assert (SCHEMAS / f"{topic}.json").read_text(encoding="utf-8") == text(topic)


def test_records_that_the_core_makes_fit_their_schemas() -> None:
    _, states, spells, records, _ = run(poll(0, report()), poll(5, report(bikes=4)))
    for topic, made in (("states", states), ("spells", spells), ("polls", records)):
        assert made
        for record in made:
            jsonschema.validate(json.loads(encode(record)), schema(topic))


@pytest.mark.parametrize("record", TOPIC_RECORDS.values())
def test_every_field_says_what_it_is(record) -> None:
    assert [c.name for c in columns(record) if not c.description] == []


def test_no_two_migrations_have_one_number() -> None:
    known = migrations()
    assert len({step.version for step in known}) == len(known), [step.name for step in known]
