"""spark/batch_statistics.py by the real spark-submit."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pyspark
import pytest

from velib_dagster.runtime.java import java_home
from velib_dagster.statistics.compare import differences
from velib_dagster.statistics.days import Days
from velib_dagster.statistics.recount import COUNTED, recounting
from velib_dagster.statistics.tables import TABLES
from velib_dagster_tests.statistics.archives import write_archive
from velib_dagster_tests.statistics.make import DAY, arrow, empty, held, paris

pytestmark = pytest.mark.spark

Submit = Callable[..., subprocess.CompletedProcess[str]]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def submit(spark_of_small_data: dict[str, str]) -> Submit:
    """spark-submit of the batch job, run to its end."""
    return lambda *arguments: _submit(arguments, spark_of_small_data)


def _submit(arguments: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Path(pyspark.__file__).parent / "bin" / "spark-submit"),
            *("--master", "local[2]", "--conf", "spark.ui.enabled=false", "--conf", "spark.sql.shuffle.partitions=2"),
            *("--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.driver.bindAddress=127.0.0.1"),
            *(str(REPOSITORY / "spark" / "batch_statistics.py"), *arguments),
        ],
        check=False, capture_output=True, text=True, timeout=500,
        env={**os.environ, **environment, "JAVA_HOME": str(java_home()), "PYSPARK_PYTHON": sys.executable},
    )  # fmt: skip


def test_the_tables_of_an_archive_anywhere_are_written_as_parquet(submit: Submit, tmp_path: Path) -> None:
    spells = held("0012", paris(-1), paris(9), 5) + empty("0012", paris(9), paris(25)) + held("2", paris(8), paris(24))
    write_archive(tmp_path / "archive", spells, committed=False)
    done = submit(
        "--archive", f"file://{tmp_path}/archive", "--days", f"{DAY}..{DAY}", "--into", f"file://{tmp_path}/tables"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with recounting(
        arrow([s for s in spells if paris(0) <= s.until and s.since < paris(24)]), Days.one(DAY)
    ) as recount:
        for name, table in TABLES.items():
            written = ds.dataset(tmp_path / "tables" / name, partitioning="hive").to_table()
            assert set(written.column_names) == {column.name for column in table.columns}
            assert [path.name for path in (tmp_path / "tables" / name).glob("day=*")] == [f"day={DAY}"]
            if name in COUNTED:
                key, columns = [k for k in table.key if k != "day"], [c for c in COUNTED[name] if c != "day"]
                assert differences(written, recount.table(name), key, columns) == []


def test_a_day_that_is_not_there_ends_in_words(submit: Submit, tmp_path: Path) -> None:
    done = submit("--archive", str(tmp_path), "--days", str(DAY), "--into", str(tmp_path / "tables"), "--sql")
    assert done.returncode == 1
    assert f"has no file for {DAY}:" in done.stdout  # spark-submit joins what the program says
    assert not (tmp_path / "tables").exists()
