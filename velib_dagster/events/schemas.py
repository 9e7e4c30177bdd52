"""JSON Schemas of the topics, made from the records; `docs/schemas/` holds them for readers in other languages.

Run `python -m velib_dagster.events.schemas FOLDER` after a record changed; a test holds files and records together.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from velib_dagster.events.records import PollRecord, Spell, StateRecord

TOPIC_RECORDS: Final[dict[str, type[msgspec.Struct]]] = {"states": StateRecord, "spells": Spell, "polls": PollRecord}


def schema(topic: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one record of the topic."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(TOPIC_RECORDS[topic])}


def text(topic: str) -> str:
    """The schema as it stands in `docs/schemas/`."""
    return json.dumps(schema(topic), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in TOPIC_RECORDS:
        (Path(sys.argv[1]) / f"{name}.json").write_text(text(name), encoding="utf-8")
