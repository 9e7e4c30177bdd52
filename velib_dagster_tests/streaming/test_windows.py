import random
from datetime import timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from velib_dagster.events.records import Spell, StationState, Void, encode
from velib_dagster.store.columns import WINDOW_COLUMNS
from velib_dagster.streaming.schemas import schema_of
from velib_dagster.streaming.voids import without_voids
from velib_dagster.streaming.windows import parse, watermark_seconds, window_sums
from velib_dagster_tests.streaming.make import START, spells, state
from velib_dagster_tests.streaming.recount import assert_same_windows

pytestmark = pytest.mark.spark


def as_kafka(spark: SparkSession, records: list[Spell] | list[StationState]) -> DataFrame:
    return spark.createDataFrame([(bytearray(encode(record)),) for record in records], "value binary")


def test_a_record_reads_as_it_was_written(spark: SparkSession) -> None:
    sent = [state("7101_relais", START, capacity=None, last_reported=START + timedelta(seconds=7)), state("2", START)]
    rows = parse(as_kafka(spark, sent), StationState).withColumn("since", F.col("since").cast("string")).collect()
    assert [row.asDict() for row in rows] == [
        msgspec.structs.asdict(record) | {"since": "2024-11-07 07:00:00", "last_reported": row.last_reported}
        for record, row in zip(sent, rows, strict=True)
    ]
    assert rows[1].last_reported is None
    assert parse(as_kafka(spark, sent), StationState).schema.names == schema_of(StationState).names


def test_a_malformed_record_fails_the_query(spark: SparkSession) -> None:
    broken = spark.createDataFrame([(bytearray(b'{"station_code": 5'),)], "value binary")
    with pytest.raises(Py4JJavaError, match="MALFORMED"):
        parse(broken, Spell).collect()


def test_window_sums_equal_a_recount(spark: SparkSession) -> None:
    sent = spells(stations=40, minutes=60)
    assert any(s.capacity is None for s in sent)
    assert any(s.capacity == 0 for s in sent)
    assert any(s.mechanical is None and s.ebike is not None for s in sent)
    result = window_sums(parse(as_kafka(spark, sent), Spell), max_hold_seconds=660)
    assert result.columns == [column.name for column in WINDOW_COLUMNS]
    assert_same_windows(result.toPandas(), sent)


def test_sums_do_not_depend_on_the_order_of_the_spells(spark: SparkSession) -> None:
    sent = spells(stations=40, minutes=30)
    mixed = list(sent)
    random.Random(2).shuffle(mixed)
    first, second = (
        sorted(tuple(row) for row in window_sums(parse(as_kafka(spark, given), Spell), 660).collect())
        for given in (sent, mixed)
    )
    assert first == second


def test_a_station_renamed_within_a_window_has_a_row_for_each_name(spark: SparkSession) -> None:
    (spell, *_) = spells(stations=1, minutes=10)
    length = timedelta(seconds=spell.seconds)
    later = msgspec.structs.replace(
        spell, since=spell.since + length, until=spell.until + length, name="New name", zone="Zone 9"
    )
    rows = window_sums(parse(as_kafka(spark, [later, spell]), Spell), 660).orderBy("newest_since").collect()
    assert [(row.name, row.zone, row.seconds) for row in rows] == [
        (spell.name, spell.zone, spell.seconds),
        ("New name", "Zone 9", spell.seconds),
    ]


def test_a_spell_that_comes_twice_counts_once(small: SparkSession) -> None:
    sent = spells(stations=10, minutes=30)
    result = window_sums(parse(as_kafka(small, [*sent, *sent[20:], *sent]), Spell), max_hold_seconds=660)
    assert_same_windows(result.toPandas(), sent)


def test_a_spell_that_comes_again_in_a_later_batch_or_after_a_restart_counts_once(
    small: SparkSession, tmp_path: Path
) -> None:
    sent = spells(stations=10, minutes=40)
    written: dict[tuple[object, ...], tuple[object, ...]] = {}

    def keep(batch: DataFrame, _number: int) -> None:
        for row in batch.collect():
            written[row.station_code, row.window_start, row.name, row.zone, row.cell] = tuple(row)

    def run(*batches: list[Spell]) -> None:
        for batch in batches:
            as_kafka(small, batch).write.mode("append").parquet(str(tmp_path / "topic"))
            rows = small.readStream.schema("value binary").parquet(str(tmp_path / "topic"))
            query = window_sums(parse(rows, Spell), max_hold_seconds=660).writeStream.outputMode("update")
            query = query.option("checkpointLocation", str(tmp_path / "checkpoint")).trigger(availableNow=True)
            query.foreachBatch(keep).start().awaitTermination()

    third = len(sent) // 3
    run(sent[:third], sent[third // 2 : 2 * third], sent[third : 2 * third] + sent[2 * third :], sent[-third:])
    table = pd.DataFrame(list(written.values()), columns=[column.name for column in WINDOW_COLUMNS])
    assert_same_windows(table, sent)


def test_a_row_without_a_value_only_closes_a_transaction(small: SparkSession) -> None:
    rows = small.createDataFrame([(None,), (bytearray(encode(spells(1, 10)[0])),)], "value binary")
    assert parse(rows, Spell).count() == 1


def test_the_watermark_is_at_least_half_an_hour_and_three_holds() -> None:
    assert watermark_seconds(660) == 1980
    assert watermark_seconds(300) == 1800


def test_spells_of_a_clock_that_was_ahead_are_passed_over_and_later_ones_of_that_time_are_not(
    spark: SparkSession,
) -> None:
    sent = spells(stations=4, minutes=60)
    middle = sorted(one.since for one in sent)[len(sent) // 2]
    rows = [(bytearray(encode(one)), offset) for offset, one in enumerate([*sent, *sent])]
    kafka = spark.createDataFrame([*rows, (None, 2 * len(sent))], "value binary, offset long")
    void = Void(after=middle, until=middle + timedelta(days=1), spells_below=len(sent))
    kept = {row.offset for row in without_voids(kafka, [void]).select("offset").collect()}
    wanted = {offset for offset, one in enumerate(sent) if one.since <= middle}
    assert kept == wanted | set(range(len(sent), 2 * len(sent) + 1))
    assert 0 < len(wanted) < len(sent)
    assert without_voids(kafka, []) is kafka
