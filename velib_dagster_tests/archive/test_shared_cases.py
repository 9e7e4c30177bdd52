"""The shared cases about exports, where their folder lies beside the repository: 28 to 32."""

import csv
import json
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow.csv
import pytest

from velib_dagster.archive.export import export
from velib_dagster.archive.reader import read_spells
from velib_dagster.archive.writer import archive_topic
from velib_dagster.events.records import Spell
from velib_dagster.settings import Feed, Settings
from velib_dagster_tests.archive.parts import TopicInMemory

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "feed-cases"


def case(number: int) -> dict[str, Any]:
    found = sorted(FOLDER.glob(f"{number:02}-*.json"))
    if not found:
        pytest.skip(f"no shared cases: {FOLDER} has no {number:02}-….json")
    return json.loads(found[0].read_bytes())  # type: ignore[no-any-return]


def archived(settings: Settings, asked: dict[str, Any]) -> list[Spell]:
    spells = [msgspec.convert(row, Spell) for row in asked["input"]["rows"]]
    archive_topic(settings.archive, TopicInMemory(spells), "Europe/Paris")
    return spells


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path / "home", feed=Feed("feed", ""))
    made.archive.mkdir(parents=True)
    return made


@pytest.mark.parametrize("number", [28, 30])
def test_cells_for_excel(number: int, settings: Settings, tmp_path: Path) -> None:
    asked = case(number)
    spells = archived(settings, asked)
    export(settings, tmp_path / "x.csv", excel=True)
    text = (tmp_path / "x.csv").read_bytes().decode("utf-8-sig")
    rows = {row["station_code"]: row for row in csv.DictReader(StringIO(text, newline=""), delimiter=";")}
    for code, columns in asked["right"]["cells"].items():
        for column, right in columns.items():
            allowed = right["one_of"] if isinstance(right, dict) else [right]
            assert rows[code][column] in allowed, (code, column)
    export(settings, tmp_path / "x.csv")
    plain = list(csv.DictReader((tmp_path / "x.csv").open(newline="", encoding="utf-8")))
    assert [row["name"] for row in plain] == [spell.name for spell in spells]


def test_names_with_line_breaks_read_back_equal(settings: Settings, tmp_path: Path) -> None:
    spells = archived(settings, case(31))
    assert list(read_spells(settings.archive)) == spells
    target = tmp_path / "x.csv"
    export(settings, target)
    names = [spell.name for spell in spells]
    with target.open(newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file, strict=True)] == names
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    texts = pyarrow.csv.ConvertOptions(strings_can_be_null=False)
    table = pyarrow.csv.read_csv(BytesIO(target.read_bytes()), parse_options=options, convert_options=texts)
    assert table.column("name").to_pylist() == names


def test_codes_in_pandas(settings: Settings) -> None:
    asked = case(32)
    archived(settings, asked)
    [day] = settings.archive.glob("*.csv")
    frame = pd.read_csv(day, dtype={"station_code": str})
    assert list(frame["station_code"]) == asked["right"]["pandas_with_dtype"]
