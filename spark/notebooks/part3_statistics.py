# Databricks notebook source
# MAGIC %md
# MAGIC # Vélib', partie 3 : statistiques longues avec Spark
# MAGIC La Métropole demande : **comment améliorer l'expérience et l'usage ? Les capacités des stations sont-elles les
# MAGIC bonnes ?** Chaque analyse est faite deux fois, avec l'API DataFrame puis en SQL, et une cellule prouve que les
# MAGIC deux sont égales.
# MAGIC
# MAGIC **Avant de commencer, sur Databricks**
# MAGIC 1. Ouvrir un compte *Databricks Free Edition* (gratuit, sans carte). La *Community Edition* du sujet n'existe
# MAGIC    plus.
# MAGIC 2. *Catalog* › `workspace` › `default` › *Create* › *Volume* : un volume géré nommé `velib`.
# MAGIC 3. Sur votre machine : `velib export velib.csv` écrit toute l'archive dans **un** CSV. Conseil du sujet :
# MAGIC    commencer par un sous-ensemble, par exemple un jour, `velib export velib.csv --days 2024-11-07..2024-11-07`.
# MAGIC 4. Dans le volume : *Upload to this volume*, choisir `velib.csv`.
# MAGIC 5. *Workspace* › *Import* : ce fichier. Le brancher sur *Serverless*, puis *Run all*. Le chemin du CSV est un
# MAGIC    widget, en haut de la page.
# MAGIC
# MAGIC Le calcul *serverless* passe par Spark Connect : ni API RDD, ni `cache()`. Ailleurs (Jupyter, `python`), le
# MAGIC notebook lit `velib.csv` dans le dossier courant.
# MAGIC
# MAGIC Données : Vélib' Métropole / Smovengo, Ville de Paris, licence ODbL 1.0.
# MAGIC
# MAGIC ---
# MAGIC *The Métropole asks how to improve the experience and the use, and whether stations have the right capacity.
# MAGIC Each analysis is made twice, with the DataFrame API and in SQL, and a cell proves both equal. On Databricks:
# MAGIC open a Free Edition account (the Community Edition is gone), make a managed volume `velib` in
# MAGIC `workspace.default`, upload the one CSV that `velib export` writes (start with a subset: `--days`), import this
# MAGIC file, attach it to Serverless, run all; the path is a widget. Serverless is Spark Connect: no RDD API, no
# MAGIC `cache()`. Elsewhere it reads `velib.csv` in the current folder. Data: Vélib' Métropole / Smovengo, Ville de
# MAGIC Paris, ODbL 1.0.*

# COMMAND ----------

# MAGIC %md
# MAGIC ## Réglages · *Settings*
# MAGIC Les jours et les heures sont ceux du fuseau du réseau.
# MAGIC
# MAGIC *Days and hours are those of the network's time zone.*

# COMMAND ----------

import contextlib
import io
import statistics
import time
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, display
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

spark = SparkSession.builder.getOrCreate()
dbutils = globals().get("dbutils")
if dbutils is None:
    PATH, TIMEZONE = "velib.csv", "Europe/Paris"
else:
    dbutils.widgets.text("path", "/Volumes/workspace/default/velib/velib.csv", "CSV")
    dbutils.widgets.text("timezone", "Europe/Paris", "Fuseau / Time zone")
    PATH, TIMEZONE = dbutils.widgets.get("path"), dbutils.widgets.get("timezone")
spark.conf.set("spark.sql.session.timeZone", TIMEZONE)

CREDIT = "Données : Vélib' Métropole / Smovengo, Ville de Paris, ODbL 1.0"
HOUR = 3600
LEAST_SECONDS = 4 * HOUR  # a station or zone seen for less says nothing about its habits
OFTEN = 0.05  # empty or full for a twentieth of the time in service

pd.set_option("display.float_format", "{:.3f}".format)
pd.set_option("display.max_colwidth", 200)
pd.set_option("display.max_columns", 40)

TABLES: dict[str, pd.DataFrame] = {}  # each result, by name


def show(frame: pd.DataFrame, rows: int = 10) -> None:
    """The first rows, numbered from 1."""
    first = frame.head(rows).convert_dtypes()
    display(first.set_axis(range(1, len(first) + 1), axis="index"))


def percent(part: float, whole: float = 1.0) -> str:
    """Part of whole in percent; a dash where the whole is nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def prove(name: str, result: DataFrame, twin: DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Collect both results, raise unless they have the same keys, columns and numbers (to 1e-9), keep the first."""
    frame, sql_frame = result.toPandas(), twin.toPandas()
    for each in (frame, sql_frame):
        if each.duplicated(list(key)).any():
            msg = f"{name}: a key occurs twice"
            raise AssertionError(msg)
    pd.testing.assert_frame_equal(
        frame.sort_values(list(key), ignore_index=True),
        sql_frame.sort_values(list(key), ignore_index=True),
        check_dtype=False,
        rtol=1e-9,
        atol=0,
    )
    print(f"{name}: DataFrame = SQL, {len(frame)} × {len(frame.columns)}")
    TABLES[name] = frame
    return frame


# COMMAND ----------

# MAGIC %md
# MAGIC ## 1. Charger le CSV · *Load the CSV*
# MAGIC Une ligne est un **spell** : une station a gardé le même état de `since` à `until`, pendant `seconds` secondes.
# MAGIC Le schéma est explicite (un code de station est un texte : `07101`, `7101_relais`) ; une ligne cassée arrête la
# MAGIC lecture.
# MAGIC
# MAGIC *A row is a spell: the station held one state from `since` to `until`. The schema is explicit (station codes
# MAGIC are text); a malformed row stops the reading.*

# COMMAND ----------

SCHEMA = """
    station_code STRING, name STRING, zone STRING, cell STRING, lat DOUBLE, lon DOUBLE, capacity BIGINT,
    since TIMESTAMP, until TIMESTAMP, seconds BIGINT, bikes BIGINT, mechanical BIGINT, ebike BIGINT, docks BIGINT,
    is_installed BOOLEAN, is_renting BOOLEAN, is_returning BOOLEAN, last_reported TIMESTAMP
"""


def read() -> DataFrame:
    """The CSV as it is, one row a spell."""
    return (
        spark.read.schema(SCHEMA)
        .option("header", True)
        .option("enforceSchema", False)  # compare the header with the schema
        .option("mode", "FAILFAST")
        .option("escape", '"')  # RFC 4180: a quote within quotes is doubled
        .csv(PATH)
    )


subset = read().limit(10_000)
subset.printSchema()
print(f"{subset.count()} lignes pour essayer · rows to try with")
show(subset.toPandas(), 3)

# COMMAND ----------

# MAGIC %md
# MAGIC Le nombre de partitions, sans l'API RDD (`df.rdd.getNumPartitions()` n'existe pas sur Spark Connect).
# MAGIC
# MAGIC *The number of partitions, without the RDD API.*

# COMMAND ----------


def rows_by_partition(frame: DataFrame) -> list[int]:
    """Rows of each partition that has any, in the order of the partitions."""
    counted = frame.groupBy(F.spark_partition_id().alias("partition")).count().orderBy("partition").collect()
    return [row["count"] for row in counted]


sizes = rows_by_partition(read())
print(f"{sum(sizes)} lignes dans {len(sizes)} partition(s) · rows in partitions: {sizes}")

# COMMAND ----------

# MAGIC %md
# MAGIC **Définitions.** *En service* : installée, loue et accepte les retours. *Vide* : en service, aucun vélo.
# MAGIC *Pleine* : en service, aucune borne libre. Les moyennes sont pondérées par la durée, sur le temps en service où
# MAGIC la valeur est connue. Un spell compte dans le jour et l'heure de son début : il est coupé toutes les 10 minutes
# MAGIC et n'en dépasse aucun.
# MAGIC
# MAGIC ***In service***: *installed, renting and returning.* ***Empty***: *in service without a bike.* ***Full***: *in
# MAGIC service without a free dock. Means are weighted by time, over the seconds in service where the value is known.
# MAGIC A spell counts in the day and hour of its start: it is cut at each 10-minute mark.*

# COMMAND ----------

spells = (
    read()
    .withColumn("in_service", F.col("is_installed") & F.col("is_renting") & F.col("is_returning"))
    .withColumn("is_empty", F.col("in_service") & (F.col("bikes") == 0))
    .withColumn("is_full", F.col("in_service") & F.coalesce(F.col("docks") == 0, F.lit(False)))
    .withColumn("split_known", F.col("mechanical").isNotNull() & F.col("ebike").isNotNull())
    .withColumn("day", F.to_date("since"))
    .withColumn("hour", F.hour("since"))
    .withColumn("weekend", F.dayofweek("since").isin(1, 7))
)
spells.createOrReplaceTempView("spells")

# COMMAND ----------

# MAGIC %md
# MAGIC ## 2. Ce que les données couvrent · *What the data covers*
# MAGIC Un nombre tiré de deux heures ne doit pas passer pour un mois : `known_seconds` est le temps connu de la
# MAGIC station la mieux suivie, `day_seconds` la longueur du jour (23 ou 25 h aux changements d'heure).
# MAGIC
# MAGIC *A number from two hours must not pass for a month: `known_seconds` is the known time of the station seen best,
# MAGIC `day_seconds` the length of the day (23 or 25 h when clocks change).*

# COMMAND ----------

days = (
    spells.groupBy("day", "station_code")
    .agg(
        F.sum("seconds").alias("known"),
        F.count("*").alias("spells"),
        F.min("since").alias("first"),
        F.max("until").alias("last"),
    )
    .groupBy("day")
    .agg(
        F.count("*").alias("stations"),
        F.sum("spells").alias("spells"),
        F.date_format(F.min("first"), "HH:mm").alias("from"),
        F.date_format(F.max("last"), "HH:mm").alias("to"),
        F.max("known").alias("known_seconds"),
    )
    .withColumn(
        "day_seconds",
        F.unix_timestamp(F.date_add("day", 1).cast("timestamp")) - F.unix_timestamp(F.col("day").cast("timestamp")),
    )
    .withColumn("known_share", F.col("known_seconds") / F.col("day_seconds"))
    .orderBy("day")
)

# COMMAND ----------

days_sql = spark.sql("""
    WITH station_days AS (
        SELECT day, station_code, sum(seconds) AS known, count(*) AS spells, min(since) AS first, max(until) AS last
        FROM spells
        GROUP BY day, station_code
    ), by_day AS (
        SELECT day, count(*) AS stations, sum(spells) AS spells, date_format(min(first), 'HH:mm') AS `from`,
               date_format(max(last), 'HH:mm') AS `to`, max(known) AS known_seconds,
               unix_timestamp(CAST(date_add(day, 1) AS TIMESTAMP)) - unix_timestamp(CAST(day AS TIMESTAMP))
                   AS day_seconds
        FROM station_days
        GROUP BY day
    )
    SELECT *, known_seconds / day_seconds AS known_share
    FROM by_day
    ORDER BY day
""")

# COMMAND ----------

days_table = prove("days", days, days_sql, ["day"])
show(days_table, 31)
KNOWN_HOURS = days_table["known_seconds"].sum() / HOUR
COVERAGE = (
    f"{len(days_table)} jours · days, {days_table['day'].min()} … {days_table['day'].max()}, "
    f"{KNOWN_HOURS:.1f} h connues · known, {days_table['spells'].sum():,} spells"
)
print(COVERAGE)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 3. Moyenne, minimum et maximum par station · *Mean, min and max of each station*
# MAGIC Vélos, mécaniques, électriques, bornes libres ; aussi l'occupation, les parts de temps vide et plein, sans
# MAGIC électrique ni mécanique, et les bornes inutilisables (capacité − vélos − bornes libres).
# MAGIC
# MAGIC *Bikes, mechanical, e-bikes, free docks; also occupancy, shares of time empty and full, without an e-bike or a
# MAGIC mechanical bike, and unusable docks (capacity − bikes − free docks).*

# COMMAND ----------


def seconds_where(condition: Column) -> Column:
    """Seconds in service that meet the condition; 0 where there are none."""
    return F.coalesce(F.sum(F.when(F.col("in_service") & condition, F.col("seconds"))), F.lit(0))


def mean_where(value: Column, known: Column) -> Column:
    """Mean over the seconds in service where the value is known; NULL where there are none."""
    counted = F.col("in_service") & known
    return F.try_divide(F.sum(F.when(counted, F.col("seconds") * value)), F.sum(F.when(counted, F.col("seconds"))))


def share_where(condition: Column, known: Column) -> Column:
    """Share of the seconds in service, where known, that meet the condition; NULL where there are none."""
    return F.try_divide(seconds_where(known & condition), seconds_where(known))


ALWAYS = F.lit(True)
DOCKS_KNOWN = F.col("docks").isNotNull()
SPLIT_KNOWN = F.col("split_known")
CAPACITY_KNOWN = F.coalesce(F.col("capacity") > 0, F.lit(False))
UNUSABLE = F.greatest(F.col("capacity") - F.col("bikes") - F.col("docks"), F.lit(0))

FIGURES = [
    F.sum("seconds").alias("seconds_known"),
    seconds_where(ALWAYS).alias("seconds_in_service"),
    mean_where(F.col("bikes"), ALWAYS).alias("bikes_mean"),
    mean_where(F.col("mechanical"), SPLIT_KNOWN).alias("mechanical_mean"),
    mean_where(F.col("ebike"), SPLIT_KNOWN).alias("ebike_mean"),
    mean_where(F.col("docks"), DOCKS_KNOWN).alias("docks_mean"),
    *(
        extreme(F.when(F.col("in_service"), F.col(value))).alias(f"{value}_{name}")
        for value in ("bikes", "mechanical", "ebike", "docks")
        for name, extreme in (("min", F.min), ("max", F.max))
    ),
    mean_where(F.col("bikes") / F.nullif(F.col("capacity"), F.lit(0)), CAPACITY_KNOWN).alias("occupancy_mean"),
    share_where(F.col("bikes") == 0, ALWAYS).alias("empty_share"),
    share_where(F.col("docks") == 0, DOCKS_KNOWN).alias("full_share"),
    share_where(F.col("ebike") == 0, SPLIT_KNOWN).alias("no_ebike_share"),
    share_where(F.col("mechanical") == 0, SPLIT_KNOWN).alias("no_mechanical_share"),
    mean_where(UNUSABLE, DOCKS_KNOWN & CAPACITY_KNOWN).alias("unusable_docks_mean"),
    seconds_where(F.col("is_full")).alias("seconds_full"),
    seconds_where(F.col("is_full") & CAPACITY_KNOWN & (UNUSABLE > 0)).alias("seconds_full_unusable"),
]

PLACE = [F.max_by(name, "since").alias(name) for name in ("name", "zone", "lat", "lon", "capacity")]  # the newest
stations = spells.groupBy("station_code").agg(*PLACE, *FIGURES)

# COMMAND ----------

FIGURES_SQL = """
    sum(seconds) AS seconds_known,
    coalesce(sum(seconds) FILTER (WHERE in_service), 0) AS seconds_in_service,
    sum(seconds * bikes) FILTER (WHERE in_service) / sum(seconds) FILTER (WHERE in_service) AS bikes_mean,
    sum(seconds * mechanical) FILTER (WHERE in_service AND split_known)
        / sum(seconds) FILTER (WHERE in_service AND split_known) AS mechanical_mean,
    sum(seconds * ebike) FILTER (WHERE in_service AND split_known)
        / sum(seconds) FILTER (WHERE in_service AND split_known) AS ebike_mean,
    sum(seconds * docks) FILTER (WHERE in_service)
        / sum(seconds) FILTER (WHERE in_service AND docks IS NOT NULL) AS docks_mean,
    min(bikes) FILTER (WHERE in_service) AS bikes_min, max(bikes) FILTER (WHERE in_service) AS bikes_max,
    min(mechanical) FILTER (WHERE in_service) AS mechanical_min,
    max(mechanical) FILTER (WHERE in_service) AS mechanical_max,
    min(ebike) FILTER (WHERE in_service) AS ebike_min, max(ebike) FILTER (WHERE in_service) AS ebike_max,
    min(docks) FILTER (WHERE in_service) AS docks_min, max(docks) FILTER (WHERE in_service) AS docks_max,
    sum(seconds * bikes / nullif(capacity, 0)) FILTER (WHERE in_service AND capacity > 0)
        / sum(seconds) FILTER (WHERE in_service AND capacity > 0) AS occupancy_mean,
    coalesce(sum(seconds) FILTER (WHERE is_empty), 0) / sum(seconds) FILTER (WHERE in_service) AS empty_share,
    coalesce(sum(seconds) FILTER (WHERE is_full), 0)
        / sum(seconds) FILTER (WHERE in_service AND docks IS NOT NULL) AS full_share,
    coalesce(sum(seconds) FILTER (WHERE in_service AND split_known AND ebike = 0), 0)
        / sum(seconds) FILTER (WHERE in_service AND split_known) AS no_ebike_share,
    coalesce(sum(seconds) FILTER (WHERE in_service AND split_known AND mechanical = 0), 0)
        / sum(seconds) FILTER (WHERE in_service AND split_known) AS no_mechanical_share,
    sum(seconds * greatest(capacity - bikes - docks, 0))
            FILTER (WHERE in_service AND docks IS NOT NULL AND capacity > 0)
        / sum(seconds) FILTER (WHERE in_service AND docks IS NOT NULL AND capacity > 0) AS unusable_docks_mean,
    coalesce(sum(seconds) FILTER (WHERE is_full), 0) AS seconds_full,
    coalesce(sum(seconds) FILTER (WHERE is_full AND capacity > bikes), 0) AS seconds_full_unusable
"""

stations_sql = spark.sql(f"""
    SELECT station_code, max_by(name, since) AS name, max_by(zone, since) AS zone, max_by(lat, since) AS lat,
           max_by(lon, since) AS lon, max_by(capacity, since) AS capacity, {FIGURES_SQL}
    FROM spells
    GROUP BY station_code
""")

# COMMAND ----------

stations_table = prove("stations", stations, stations_sql, ["station_code"])
show(
    stations_table.sort_values("bikes_mean", ascending=False)[
        ["station_code", "name", "zone", "capacity"]
        + [f"{value}_{what}" for value in ("bikes", "mechanical", "ebike", "docks") for what in ("mean", "min", "max")]
    ]
)

# COMMAND ----------

# MAGIC %md
# MAGIC La carte : ● taille = capacité ; rouge = souvent vide, bleu = souvent pleine.
# MAGIC
# MAGIC *The map: ● size = capacity; red = often empty, blue = often full.*

# COMMAND ----------


def finish(figure: Any) -> None:
    """Name the source under the plot and show it."""
    figure.text(0.01, 0.005, CREDIT, fontsize=7, color="gray")
    plt.show()


seen = stations_table[stations_table["seconds_in_service"] >= LEAST_SECONDS]
figure, axes = plt.subplots(figsize=(7.5, 5.2), dpi=80)
points = axes.scatter(
    seen["lon"],
    seen["lat"],
    s=seen["capacity"].fillna(20).astype(float) / 2,
    c=seen["full_share"].fillna(0) - seen["empty_share"],
    cmap="RdBu",
    vmin=-0.3,
    vmax=0.3,
    linewidths=0.2,
    edgecolors="gray",
)
axes.set_aspect(1.5)
axes.set_title("Temps plein − temps vide · time full − time empty")
figure.colorbar(points, ax=axes, shrink=0.7)
finish(figure)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 4. Moyennes par zone · *Means of each zone*
# MAGIC Une zone est un arrondissement ou une commune. La moyenne est par station et pondérée par le temps ; ce n'est
# MAGIC pas la moyenne des moyennes des stations.
# MAGIC
# MAGIC *A zone is an arrondissement or a commune. Means are per station and weighted by time, not means of stations'
# MAGIC means.*

# COMMAND ----------

zones = spells.groupBy("zone").agg(F.count_distinct("station_code").alias("stations"), *FIGURES)

# COMMAND ----------

zones_sql = spark.sql(f"SELECT zone, count(DISTINCT station_code) AS stations, {FIGURES_SQL} FROM spells GROUP BY zone")

# COMMAND ----------

zones_table = prove("zones", zones, zones_sql, ["zone"])
ZONE_COLUMNS = ["zone", "stations", "bikes_mean", "mechanical_mean", "ebike_mean", "docks_mean", "occupancy_mean"]
show(zones_table.sort_values("stations", ascending=False)[[*ZONE_COLUMNS, "empty_share", "full_share"]], 20)

# COMMAND ----------

large = zones_table[(zones_table["stations"] >= 3) & (zones_table["seconds_in_service"] >= 3 * LEAST_SECONDS)]
figure, both = plt.subplots(1, 2, figsize=(9, 3.6), dpi=80)
for axes, column, title, colour in (
    (both[0], "empty_share", "Zones souvent vides · often empty", "firebrick"),
    (both[1], "full_share", "Zones souvent pleines · often full", "steelblue"),
):
    top = large.nlargest(10, column)[::-1]
    axes.barh(top["zone"], 100 * top[column], color=colour)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("% du temps en service · of time in service")
figure.tight_layout(rect=(0, 0.03, 1, 1))
finish(figure)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 5. Stations parfois vides, parfois pleines · *Stations at times empty, at times full*
# MAGIC Combien, lesquelles, et à quelle heure surtout (`worst_hour` : l'heure où la part vide est la plus grande).
# MAGIC
# MAGIC *How many, which ones, and at which hour most (`worst_hour`).*

# COMMAND ----------


def at_times(flag: str, known: Column) -> DataFrame:
    """Stations with at least a second of the flag, the longest first."""
    return (
        spells.groupBy("station_code", "hour")
        .agg(
            F.max(F.struct("since", "name", "zone")).alias("newest"),
            seconds_where(known).alias("seconds_in_service"),
            seconds_where(F.col(flag)).alias("seconds"),
        )
        .withColumn("share", F.try_divide("seconds", "seconds_in_service"))
        .groupBy("station_code")
        .agg(
            F.max("newest").alias("newest"),
            F.sum("seconds_in_service").alias("seconds_in_service"),
            F.sum("seconds").alias("seconds"),
            F.max_by("hour", F.struct("share", "seconds", -F.col("hour"))).alias("worst_hour"),
            F.max("share").alias("worst_share"),
        )
        .where("seconds > 0")
        .select(
            "station_code",
            "newest.name",
            "newest.zone",
            "seconds_in_service",
            "seconds",
            F.try_divide("seconds", "seconds_in_service").alias("share"),
            "worst_hour",
            "worst_share",
        )
        .orderBy(F.desc("seconds"), "station_code")
    )


empty_stations = at_times("is_empty", ALWAYS)
full_stations = at_times("is_full", DOCKS_KNOWN)

# COMMAND ----------

AT_TIMES_SQL = """
    WITH hours AS (
        SELECT station_code, hour, max(struct(since, name, zone)) AS newest,
               coalesce(sum(seconds) FILTER (WHERE in_service AND {known}), 0) AS seconds_in_service,
               coalesce(sum(seconds) FILTER (WHERE {flag}), 0) AS seconds
        FROM spells
        GROUP BY station_code, hour
    ), shares AS (
        SELECT *, try_divide(seconds, seconds_in_service) AS share FROM hours
    ), totals AS (
        SELECT station_code, max(newest) AS newest, sum(seconds_in_service) AS seconds_in_service,
               sum(seconds) AS seconds, max_by(hour, struct(share, seconds, -hour)) AS worst_hour,
               max(share) AS worst_share
        FROM shares
        GROUP BY station_code
    )
    SELECT station_code, newest.name, newest.zone, seconds_in_service, seconds,
           try_divide(seconds, seconds_in_service) AS share, worst_hour, worst_share
    FROM totals
    WHERE seconds > 0
    ORDER BY seconds DESC, station_code
"""

empty_stations_sql = spark.sql(AT_TIMES_SQL.format(flag="is_empty", known="true"))
full_stations_sql = spark.sql(AT_TIMES_SQL.format(flag="is_full", known="docks IS NOT NULL"))

# COMMAND ----------

empty_table = prove("empty_stations", empty_stations, empty_stations_sql, ["station_code"])
full_table = prove("full_stations", full_stations, full_stations_sql, ["station_code"])
SERVED = int((stations_table["seconds_in_service"] > 0).sum())
print(f"{len(empty_table)} stations parfois vides sur {SERVED} en service · at times empty of those in service")
show(empty_table)
print(f"{len(full_table)} stations parfois pleines sur {SERVED} en service · at times full of those in service")
show(full_table)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 6. Heure par heure · *By hour*
# MAGIC Semaine et week-end à part. `days` dit sur combien de jours l'heure a été vue ; `stations_empty` compte les
# MAGIC stations vides au moins une fois dans cette heure.
# MAGIC
# MAGIC *Weekdays and weekends apart. `days` tells on how many days the hour was seen; `stations_empty` counts the
# MAGIC stations that were empty at least once in that hour.*

# COMMAND ----------

hours = (
    spells.groupBy("weekend", "hour")
    .agg(
        F.count_distinct("day").alias("days"),
        F.sum("seconds").alias("seconds_known"),
        seconds_where(ALWAYS).alias("seconds_in_service"),
        mean_where(F.col("bikes"), ALWAYS).alias("bikes_mean"),
        mean_where(F.col("docks"), DOCKS_KNOWN).alias("docks_mean"),
        share_where(F.col("bikes") == 0, ALWAYS).alias("empty_share"),
        share_where(F.col("docks") == 0, DOCKS_KNOWN).alias("full_share"),
        F.count_distinct(F.when(F.col("is_empty"), F.col("station_code"))).alias("stations_empty"),
        F.count_distinct(F.when(F.col("is_full"), F.col("station_code"))).alias("stations_full"),
    )
    .orderBy("weekend", "hour")
)

# COMMAND ----------

hours_sql = spark.sql("""
    SELECT weekend, hour, count(DISTINCT day) AS days, sum(seconds) AS seconds_known,
           coalesce(sum(seconds) FILTER (WHERE in_service), 0) AS seconds_in_service,
           sum(seconds * bikes) FILTER (WHERE in_service) / sum(seconds) FILTER (WHERE in_service) AS bikes_mean,
           sum(seconds * docks) FILTER (WHERE in_service)
               / sum(seconds) FILTER (WHERE in_service AND docks IS NOT NULL) AS docks_mean,
           coalesce(sum(seconds) FILTER (WHERE is_empty), 0) / sum(seconds) FILTER (WHERE in_service) AS empty_share,
           coalesce(sum(seconds) FILTER (WHERE is_full), 0)
               / sum(seconds) FILTER (WHERE in_service AND docks IS NOT NULL) AS full_share,
           count(DISTINCT station_code) FILTER (WHERE is_empty) AS stations_empty,
           count(DISTINCT station_code) FILTER (WHERE is_full) AS stations_full
    FROM spells
    GROUP BY weekend, hour
    ORDER BY weekend, hour
""")

# COMMAND ----------

hours_table = prove("hours", hours, hours_sql, ["weekend", "hour"])
show(hours_table, 48)

# COMMAND ----------

figure, both = plt.subplots(1, 2, figsize=(9, 3.2), dpi=80, sharey=True)
for axes, weekend, title in ((both[0], False, "Semaine · weekdays"), (both[1], True, "Week-end · weekend")):
    part = hours_table[hours_table["weekend"] == weekend]
    axes.plot(part["hour"], 100 * part["empty_share"], "o-", color="firebrick", label="vides · empty")
    axes.plot(part["hour"], 100 * part["full_share"], "o-", color="steelblue", label="pleines · full")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("heure · hour")
    axes.set_ylim(bottom=0)
both[0].set_ylabel("% du temps en service")
both[0].legend(fontsize=8)
figure.tight_layout(rect=(0, 0.03, 1, 1))
finish(figure)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 7. Mouvements : départs et retours · *Movements: rentals and returns*
# MAGIC Entre deux spells qui se touchent, une baisse est un départ, une hausse un retour ; mécaniques et électriques à
# MAGIC part quand on les connaît. Un départ et un retour entre deux relevés s'annulent, et les camions comptent :
# MAGIC c'est une **borne basse**.
# MAGIC
# MAGIC *Between two touching spells a fall is a rental, a rise a return; mechanical and e-bikes apart where known. A
# MAGIC rental and a return between two polls cancel out, and lorries count too: a lower bound.*

# COMMAND ----------

STATE = ["bikes", "mechanical", "ebike", "docks", "capacity", "is_installed", "is_renting", "is_returning"]
BY_STATION = Window.partitionBy("station_code").orderBy("since")
linked = (
    spells.withColumn(
        "before", F.lag(F.struct("until", "in_service", "is_empty", "is_full", "split_known", *STATE)).over(BY_STATION)
    )
    .withColumn("after", F.lead(F.struct("since", "in_service", "bikes", "docks")).over(BY_STATION))
    .withColumn("touching", F.coalesce(F.col("before.until") == F.col("since"), F.lit(False)))
    .withColumn(
        "both_split",
        F.col("touching") & SPLIT_KNOWN & F.col("before.split_known"),
    )
)


def gone(value: str) -> Column:
    """How many fewer than in the spell before."""
    return F.greatest(F.col(f"before.{value}") - F.col(value), F.lit(0))


def come(value: str) -> Column:
    """How many more than in the spell before."""
    return F.greatest(F.col(value) - F.col(f"before.{value}"), F.lit(0))


same_state = F.lit(True)
for value in STATE:
    same_state = same_state & F.col(value).eqNullSafe(F.col(f"before.{value}"))
waking = F.col("hour").between(6, 21)
changed = F.col("touching") & ~same_state


def total(value: Column) -> Column:
    """Sum of the value, 0 where there is none."""
    return F.coalesce(F.sum(value), F.lit(0))


MOVES = [
    F.sum("seconds").alias("seconds_known"),
    total(F.when(F.col("both_split"), gone("mechanical") + gone("ebike")).when(F.col("touching"), gone("bikes"))).alias(
        "rentals"
    ),
    total(F.when(F.col("both_split"), come("mechanical") + come("ebike")).when(F.col("touching"), come("bikes"))).alias(
        "returns"
    ),
    total(F.when(F.col("both_split"), gone("mechanical"))).alias("mechanical_rentals"),
    total(F.when(F.col("both_split"), gone("ebike"))).alias("ebike_rentals"),
    total(F.when(changed, F.lit(1))).alias("changes"),
    seconds_where(waking).alias("waking_seconds"),
    total(F.when(changed & waking, F.lit(1))).alias("waking_changes"),
]
station_moves = linked.groupBy("station_code").agg(*MOVES)
zone_moves = linked.groupBy("zone").agg(*MOVES)
hour_moves = linked.groupBy("weekend", "hour").agg(*MOVES).orderBy("weekend", "hour")

# COMMAND ----------

spark.sql("""
    CREATE OR REPLACE TEMPORARY VIEW linked AS
    WITH neighbours AS (
        SELECT *,
               lag(struct(until, in_service, is_empty, is_full, split_known, bikes, mechanical, ebike, docks, capacity,
                          is_installed, is_renting, is_returning))
                   OVER (PARTITION BY station_code ORDER BY since) AS before,
               lead(struct(since, in_service, bikes, docks)) OVER (PARTITION BY station_code ORDER BY since) AS after
        FROM spells
    )
    SELECT *, coalesce(before.until = since, false) AS touching,
           coalesce(before.until = since, false) AND split_known AND before.split_known AS both_split,
           coalesce(before.until = since, false) AND NOT (
               bikes <=> before.bikes AND mechanical <=> before.mechanical AND ebike <=> before.ebike
               AND docks <=> before.docks AND capacity <=> before.capacity AND is_installed <=> before.is_installed
               AND is_renting <=> before.is_renting AND is_returning <=> before.is_returning) AS changed
    FROM neighbours
""")

MOVES_SQL = """
    sum(seconds) AS seconds_known,
    sum(CASE WHEN both_split
             THEN greatest(before.mechanical - mechanical, 0) + greatest(before.ebike - ebike, 0)
             WHEN touching THEN greatest(before.bikes - bikes, 0) ELSE 0 END) AS rentals,
    sum(CASE WHEN both_split
             THEN greatest(mechanical - before.mechanical, 0) + greatest(ebike - before.ebike, 0)
             WHEN touching THEN greatest(bikes - before.bikes, 0) ELSE 0 END) AS returns,
    sum(CASE WHEN both_split THEN greatest(before.mechanical - mechanical, 0) ELSE 0 END) AS mechanical_rentals,
    sum(CASE WHEN both_split THEN greatest(before.ebike - ebike, 0) ELSE 0 END) AS ebike_rentals,
    count_if(changed) AS changes,
    sum(CASE WHEN in_service AND hour BETWEEN 6 AND 21 THEN seconds ELSE 0 END) AS waking_seconds,
    count_if(changed AND hour BETWEEN 6 AND 21) AS waking_changes
"""

station_moves_sql = spark.sql(f"SELECT station_code, {MOVES_SQL} FROM linked GROUP BY station_code")
zone_moves_sql = spark.sql(f"SELECT zone, {MOVES_SQL} FROM linked GROUP BY zone")
hour_moves_sql = spark.sql(
    f"SELECT weekend, hour, {MOVES_SQL} FROM linked GROUP BY weekend, hour ORDER BY weekend, hour"
)

# COMMAND ----------

station_moves_table = prove("station_moves", station_moves, station_moves_sql, ["station_code"])
zone_moves_table = prove("zone_moves", zone_moves, zone_moves_sql, ["zone"])
hour_moves_table = prove("hour_moves", hour_moves, hour_moves_sql, ["weekend", "hour"])
hour_moves_table["rentals_per_station_hour"] = (
    hour_moves_table["rentals"] * HOUR / hour_moves_table["seconds_known"]
).astype(float)
show(hour_moves_table, 48)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 8. Épisodes : combien de temps une station reste-t-elle vide, ou pleine ? · *Episodes*
# MAGIC Un épisode est la plus longue suite de spells vides (pleins) qui se touchent. Son début ou sa fin est *ouvert*
# MAGIC quand un trou, ou une mise hors service, le cache : sa longueur est alors une borne basse.
# MAGIC
# MAGIC *An episode is a maximal run of touching empty (full) spells. Its start or end is open where a gap, or the
# MAGIC station out of service, hides it: its length is then a lower bound.*

# COMMAND ----------


NO_BIKES = F.col("kind") == "empty"
BY_KIND = Window.partitionBy("kind", "station_code").orderBy("since")
kinds = (
    linked.withColumn("kind", F.explode(F.array(F.lit("empty"), F.lit("full"))))
    .withColumn("lacking", F.when(NO_BIKES, F.col("is_empty")).otherwise(F.col("is_full")))
    .withColumn("lacking_before", F.when(NO_BIKES, F.col("before.is_empty")).otherwise(F.col("before.is_full")))
    .withColumn("some_before", F.when(NO_BIKES, F.col("before.bikes")).otherwise(F.col("before.docks")) > 0)
    .withColumn("some_after", F.when(NO_BIKES, F.col("after.bikes")).otherwise(F.col("after.docks")) > 0)
)
NO = F.lit(False)
seen_to_begin = F.col("touching") & F.coalesce(F.col("before.in_service") & F.col("some_before"), NO)
seen_to_end = F.coalesce((F.col("after.since") == F.col("until")) & F.col("after.in_service") & F.col("some_after"), NO)
INSTANT = "yyyy-MM-dd HH:mm:ssxxx"  # with its offset: when clocks go back an hour has two instants of a name
every_episode = (
    kinds.withColumn("starts", F.col("lacking") & ~(F.col("touching") & F.coalesce("lacking_before", NO)))
    .withColumn("number", F.sum(F.col("starts").cast("int")).over(BY_KIND))
    .where("lacking")
    .groupBy("kind", "station_code", "number")
    .agg(
        F.date_format(F.min("since"), INSTANT).alias("since"),
        F.date_format(F.max("until"), INSTANT).alias("until"),
        F.sum("seconds").alias("seconds"),
        F.min_by(~seen_to_begin, "since").alias("open_start"),
        F.max_by(~seen_to_end, "since").alias("open_end"),
    )
    .drop("number")
)
recovery = every_episode.groupBy("kind").agg(
    F.count("*").alias("episodes"),
    F.count_if(~F.col("open_start") & ~F.col("open_end")).alias("seen_whole"),
    F.percentile("seconds", 0.5).alias("median_seconds"),
    F.percentile("seconds", 0.9).alias("p90_seconds"),
    F.count_if(F.col("seconds") > HOUR / 2).alias("over_30_min"),
    F.count_if(F.col("seconds") > HOUR).alias("over_60_min"),
    F.count_if(F.col("seconds") > 4 * HOUR).alias("over_4_h"),
    F.sum("seconds").alias("seconds"),
    total(F.when(F.col("seconds") > HOUR, F.col("seconds"))).alias("seconds_over_60_min"),
)

# COMMAND ----------

spark.sql("""
    CREATE OR REPLACE TEMPORARY VIEW every_episode AS
    WITH kinds AS (
        SELECT station_code, since, until, seconds, touching, before.in_service AS served_before,
               after.since = until AND after.in_service AS served_after, kind,
               CASE kind WHEN 'empty' THEN is_empty ELSE is_full END AS lacking,
               CASE kind WHEN 'empty' THEN before.is_empty ELSE before.is_full END AS lacking_before,
               CASE kind WHEN 'empty' THEN before.bikes ELSE before.docks END > 0 AS some_before,
               CASE kind WHEN 'empty' THEN after.bikes ELSE after.docks END > 0 AS some_after
        FROM linked CROSS JOIN (VALUES ('empty'), ('full')) AS kinds (kind)
    ), numbered AS (
        SELECT *, count_if(lacking AND NOT (touching AND coalesce(lacking_before, false)))
                      OVER (PARTITION BY kind, station_code ORDER BY since) AS number
        FROM kinds
    )
    SELECT kind, station_code, date_format(min(since), 'yyyy-MM-dd HH:mm:ssxxx') AS since,
           date_format(max(until), 'yyyy-MM-dd HH:mm:ssxxx') AS until, sum(seconds) AS seconds,
           min_by(NOT (touching AND coalesce(served_before AND some_before, false)), since) AS open_start,
           max_by(NOT coalesce(served_after AND some_after, false), since) AS open_end
    FROM numbered
    WHERE lacking
    GROUP BY kind, station_code, number
""")

recovery_sql = spark.sql("""
    SELECT kind, count(*) AS episodes, count_if(NOT open_start AND NOT open_end) AS seen_whole,
           percentile(seconds, 0.5) AS median_seconds, percentile(seconds, 0.9) AS p90_seconds,
           count_if(seconds > 1800) AS over_30_min, count_if(seconds > 3600) AS over_60_min,
           count_if(seconds > 14400) AS over_4_h, sum(seconds) AS seconds,
           coalesce(sum(seconds) FILTER (WHERE seconds > 3600), 0) AS seconds_over_60_min
    FROM every_episode
    GROUP BY kind
""")

# COMMAND ----------

episodes_table = prove(
    "episodes", every_episode, spark.sql("SELECT * FROM every_episode"), ["kind", "station_code", "since"]
)
recovery_table = prove("recovery", recovery, recovery_sql, ["kind"])
show(recovery_table)
show(episodes_table.sort_values("seconds", ascending=False))

# COMMAND ----------

# MAGIC %md
# MAGIC ## 9. Les capacités sont-elles les bonnes ? · *Are the capacities right?*
# MAGIC Souvent vide **et** souvent pleine (au moins 5 % du temps chaque fois) : trop petite. Seulement souvent pleine
# MAGIC : il arrive plus de vélos qu'il n'en part. Seulement souvent vide : il manque des **vélos**, pas des bornes.
# MAGIC Jamais moins de la moitié des bornes libres : plus de bornes qu'il n'en sert.
# MAGIC
# MAGIC *Often empty and often full (at least 5 % of the time each): too small. Only often full: more bikes come than
# MAGIC go. Only often empty: bikes are missing, not docks. Never fewer than half of the docks free: more docks than
# MAGIC used.*

# COMMAND ----------

signs = (
    stations.withColumn(
        "sign",
        F.when(F.col("seconds_in_service") < LEAST_SECONDS, "too_little_known")
        .when((F.col("empty_share") >= OFTEN) & (F.col("full_share") >= OFTEN), "too_small")
        .when(F.col("full_share") >= OFTEN, "often_full")
        .when(F.col("empty_share") >= OFTEN, "often_empty")
        .when(F.col("docks_min") * 2 >= F.col("capacity"), "more_docks_than_used")
        .otherwise("no_sign"),
    )
    .groupBy("sign")
    .agg(
        F.count("*").alias("stations"),
        F.sum("capacity").alias("docks"),
        F.sum("bikes_mean").alias("bikes"),
        F.avg("occupancy_mean").alias("occupancy"),
    )
    .orderBy(F.desc("stations"), "sign")
)

# COMMAND ----------

stations.createOrReplaceTempView("stations")
signs_sql = spark.sql(f"""
    WITH signs AS (
        SELECT *, CASE WHEN seconds_in_service < {LEAST_SECONDS} THEN 'too_little_known'
                       WHEN empty_share >= {OFTEN} AND full_share >= {OFTEN} THEN 'too_small'
                       WHEN full_share >= {OFTEN} THEN 'often_full'
                       WHEN empty_share >= {OFTEN} THEN 'often_empty'
                       WHEN docks_min * 2 >= capacity THEN 'more_docks_than_used'
                       ELSE 'no_sign' END AS sign
        FROM stations
    )
    SELECT sign, count(*) AS stations, sum(capacity) AS docks, sum(bikes_mean) AS bikes,
           avg(occupancy_mean) AS occupancy
    FROM signs
    GROUP BY sign
    ORDER BY stations DESC, sign
""")

# COMMAND ----------

signs_table = prove("signs", signs, signs_sql, ["sign"])
show(signs_table)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 10. L'erreur des autres · *The error others make*
# MAGIC Trois raccourcis vus ailleurs, sur les mêmes données : la moyenne simple des lignes (une ligne d'une minute
# MAGIC pèse autant qu'une de dix), « pleine » pris pour `vélos == capacité`, et les stations hors service comptées
# MAGIC comme vides.
# MAGIC
# MAGIC *Three shortcuts seen elsewhere, on the same data: the plain average of rows (a row of one minute weighs as
# MAGIC much as one of ten), "full" taken as `bikes == capacity`, and stations out of service counted as empty.*

# COMMAND ----------

AT_CAPACITY = F.col("in_service") & CAPACITY_KNOWN & (F.col("bikes") == F.col("capacity"))
plain = (
    spells.where("in_service")
    .groupBy("station_code")
    .agg(F.avg("bikes").alias("plain"), mean_where(F.col("bikes"), ALWAYS).alias("weighted"))
    .agg(
        F.max(F.abs(F.col("plain") - F.col("weighted"))).alias("worst"),
        F.avg(F.abs(F.col("plain") - F.col("weighted"))).alias("usual"),
    )
)
errors = (
    spells.agg(
        F.avg(F.when(F.col("in_service"), F.col("bikes"))).alias("bikes_plain_average"),
        mean_where(F.col("bikes"), ALWAYS).alias("bikes_mean"),
        (seconds_where(F.col("is_full")) / HOUR).alias("full_hours"),
        (seconds_where(AT_CAPACITY) / HOUR).alias("at_capacity_hours"),
        (seconds_where(F.col("is_full") & ~AT_CAPACITY) / HOUR).alias("full_hours_missed"),
        (seconds_where(AT_CAPACITY & ~F.col("is_full")) / HOUR).alias("at_capacity_hours_not_full"),
        (seconds_where(F.col("is_empty")) / HOUR).alias("empty_hours"),
        (total(F.when(F.col("bikes") == 0, F.col("seconds"))) / HOUR).alias("no_bike_hours"),
        F.count_distinct(F.when(F.col("is_empty"), F.col("station_code"))).alias("stations_empty"),
        F.count_distinct(F.when(F.col("bikes") == 0, F.col("station_code"))).alias("stations_no_bike"),
    )
    .crossJoin(plain)
    .withColumnsRenamed({"worst": "plain_average_worst_error", "usual": "plain_average_mean_error"})
)

# COMMAND ----------

errors_sql = spark.sql("""
    WITH by_station AS (
        SELECT avg(bikes) - sum(seconds * bikes) / sum(seconds) AS error
        FROM spells
        WHERE in_service
        GROUP BY station_code
    ), plain AS (
        SELECT max(abs(error)) AS plain_average_worst_error, avg(abs(error)) AS plain_average_mean_error FROM by_station
    )
    SELECT avg(bikes) FILTER (WHERE in_service) AS bikes_plain_average,
           sum(seconds * bikes) FILTER (WHERE in_service) / sum(seconds) FILTER (WHERE in_service) AS bikes_mean,
           coalesce(sum(seconds) FILTER (WHERE is_full), 0) / 3600 AS full_hours,
           coalesce(sum(seconds) FILTER (WHERE in_service AND bikes = capacity AND capacity > 0), 0) / 3600
               AS at_capacity_hours,
           coalesce(sum(seconds) FILTER (WHERE is_full AND NOT (bikes <=> capacity AND capacity > 0)), 0) / 3600
               AS full_hours_missed,
           coalesce(sum(seconds) FILTER (WHERE in_service AND NOT is_full AND bikes = capacity AND capacity > 0), 0)
               / 3600 AS at_capacity_hours_not_full,
           coalesce(sum(seconds) FILTER (WHERE is_empty), 0) / 3600 AS empty_hours,
           coalesce(sum(seconds) FILTER (WHERE bikes = 0), 0) / 3600 AS no_bike_hours,
           count(DISTINCT station_code) FILTER (WHERE is_empty) AS stations_empty,
           count(DISTINCT station_code) FILTER (WHERE bikes = 0) AS stations_no_bike,
           any_value(plain_average_worst_error) AS plain_average_worst_error,
           any_value(plain_average_mean_error) AS plain_average_mean_error
    FROM spells CROSS JOIN plain
""")

# COMMAND ----------

errors_table = prove("errors", errors, errors_sql, ["stations_empty"])
e = errors_table.iloc[0]


show(
    pd.DataFrame(
        [
            (
                "vélos par station · bikes a station",
                f"moyenne des lignes · AVG: {e.bikes_plain_average:.3f}",
                f"pondérée · weighted: {e.bikes_mean:.3f}",
                f"au pire · at worst {e.plain_average_worst_error:.2f}, moyen · mean {e.plain_average_mean_error:.2f}",
            ),
            (
                "heures pleines · full hours",
                f"bikes == capacity: {e.at_capacity_hours:.1f}",
                f"docks == 0: {e.full_hours:.1f}",
                (
                    f"manque · misses {percent(e.full_hours_missed, e.full_hours)}, "
                    f"à tort · wrongly {percent(e.at_capacity_hours_not_full, e.at_capacity_hours)}"
                ),
            ),
            (
                "heures vides · empty hours",
                f"bikes == 0: {e.no_bike_hours:.1f}",
                f"en service · in service: {e.empty_hours:.1f}",
                f"à tort · wrongly {percent(e.no_bike_hours - e.empty_hours, e.no_bike_hours)}",
            ),
            (
                "stations parfois vides · at times empty",
                f"bikes == 0: {e.stations_no_bike}",
                f"en service · in service: {e.stations_empty}",
                f"à tort · wrongly {percent(e.stations_no_bike - e.stations_empty, e.stations_no_bike)}",
            ),
        ],
        columns=["mesure · measure", "raccourci · shortcut", "juste · right", "erreur · error"],
    )
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 11. Constats : améliorer l'expérience et l'usage · *Findings: a better experience and more use*
# MAGIC Chaque nombre est calculé ici, sous sa table, avec ce qu'il couvre et ce que la Métropole pourrait en faire.
# MAGIC Ils valent pour les heures et les jours couverts, pas au-delà.
# MAGIC
# MAGIC *Each number is computed here, beneath its table, with its coverage and what the Métropole could do. They hold
# MAGIC for the hours and days covered, not beyond.*

# COMMAND ----------

FINDINGS: dict[str, float] = {}  # the number of each finding


def finding(name: str, number: float, french: str, english: str, covers: str = "") -> None:
    """Keep a finding's number and show its two texts with their coverage."""
    FINDINGS[name] = float(number)
    coverage = f"{COVERAGE}. {covers}" if covers else COVERAGE
    display(
        HTML(
            f"<p><b>{len(FINDINGS)}.</b> {french}</p><p><i>{english}</i></p>"
            f"<p><small>Couverture · coverage: {coverage}</small></p>"
        )
    )


def first_of(frame: pd.DataFrame, column: str) -> pd.Series:
    """The row with the largest value; a row of nothing where the frame has none."""
    known = frame.dropna(subset=[column]).sort_values(column, ascending=False, kind="stable")
    return (known if len(known) else frame.reindex([-1])).iloc[0]


def stations_for_half(frame: pd.DataFrame) -> int:
    """How few stations make up half of the seconds of a list ordered by them."""
    sums = frame["seconds"].cumsum()
    return int((sums < frame["seconds"].sum() / 2).sum()) + 1 if len(frame) else 0


# COMMAND ----------

worst_empty, worst_full = first_of(large, "empty_share"), first_of(large, "full_share")
balance = large.merge(zone_moves_table[["zone", "rentals", "returns"]], on="zone")
show(
    pd.concat([balance.nlargest(5, "empty_share"), balance.nlargest(5, "full_share")])[
        ["zone", "stations", "seconds_in_service", "empty_share", "full_share", "rentals", "returns"]
    ]
)
finding(
    "zone_most_empty_share",
    worst_empty["empty_share"],
    f"""<b>Où ?</b> {worst_empty["zone"]} : vide {percent(worst_empty["empty_share"])} du temps, pleine
    {percent(worst_empty["full_share"])}. {worst_full["zone"]} : pleine {percent(worst_full["full_share"])}, vide
    {percent(worst_full["empty_share"])}. <b>À faire :</b> porter en journée des vélos de la seconde vers la première,
    et donner un bonus à qui rapporte un vélo là où ils manquent.""",
    f"""<b>Where?</b> {worst_empty["zone"]} is empty {percent(worst_empty["empty_share"])} of the time,
    {worst_full["zone"]} full {percent(worst_full["full_share"])}. <b>To do:</b> move bikes from the second to the first
    during the day, and reward who brings a bike where they lack.""",
    "Zones de 3 stations et plus · of 3 stations and more",
)

# COMMAND ----------

half_empty, half_full = stations_for_half(empty_table), stations_for_half(full_table)
show(empty_table.assign(cumulated=empty_table["seconds"].cumsum() / empty_table["seconds"].sum()))
finding(
    "stations_for_half_of_empty_time",
    half_empty,
    f"""<b>Quelles stations ?</b> {half_empty} sur {SERVED} ({percent(half_empty, SERVED)}) font la moitié du temps
    vide, {half_full} la moitié du temps plein. <b>À faire :</b> des tournées de régulation pour cette liste, revue
    chaque semaine.""",
    f"""<b>Which stations?</b> {half_empty} of {SERVED} make half of all empty time, {half_full} half of all full time.
    <b>To do:</b> regulation rounds for this very list, revised each week.""",
    f"{len(empty_table)} stations parfois vides · at times empty",
)

# COMMAND ----------

# An hour that was seen on few days says more about those days than about the hour.
well_seen = hours_table[hours_table["days"] * 2 >= hours_table.groupby("weekend")["days"].transform("max")]
empty_hour, full_hour = first_of(well_seen, "empty_share"), first_of(well_seen, "full_share")
show(well_seen.sort_values("empty_share", ascending=False)[["weekend", "hour", "days", "empty_share", "full_share"]], 6)


def when(row: pd.Series) -> str:
    """Hour and kind of day in both languages."""
    return f"{row['hour']:.0f} h ({'week-end · weekend' if row['weekend'] else 'semaine · weekday'})"


finding(
    "hour_most_empty_share",
    empty_hour["empty_share"],
    f"""<b>Quand ?</b> Vides surtout à {when(empty_hour)} : {percent(empty_hour["empty_share"])} du temps en service ;
    pleines surtout à {when(full_hour)} : {percent(full_hour["full_share"])}. <b>À faire :</b> finir les tournées avant
    ces heures, et montrer une prévision dans l'application.""",
    f"""<b>When?</b> Empty most at {when(empty_hour)}: {percent(empty_hour["empty_share"])} of the time in service; full
    most at {when(full_hour)}: {percent(full_hour["full_share"])}. <b>To do:</b> end the rounds before these hours, and
    show a forecast in the app.""",
    f"""ces deux heures · these two hours: {empty_hour["days"]:.0f} et · and {full_hour["days"]:.0f} jours · days ;
    comparées · compared: {len(well_seen)} heures vues sur assez de jours · hours seen on enough days""",
)

# COMMAND ----------

by_type = pd.DataFrame(
    {
        "type": ["mécaniques · mechanical", "électriques · e-bikes"],
        "bikes": [stations_table["mechanical_mean"].sum(), stations_table["ebike_mean"].sum()],
        "rentals": [station_moves_table["mechanical_rentals"].sum(), station_moves_table["ebike_rentals"].sum()],
    }
)
by_type["rentals_per_bike"] = by_type["rentals"] / by_type["bikes"]
show(by_type)
offered = by_type["bikes"][1] / by_type["bikes"].sum()
wanted = by_type["rentals"][1] / by_type["rentals"].sum()
without = (stations_table["no_ebike_share"] * stations_table["seconds_in_service"]).sum()
without_share = without / stations_table["seconds_in_service"].sum()
finding(
    "ebike_share_of_rentals",
    wanted,
    f"""<b>Quels vélos ?</b> Les électriques font {percent(offered)} des vélos en station et {percent(wanted)} des
    départs vus ; une station n'en a aucun {percent(without_share)} du temps. <b>À faire :</b> rapprocher leur part de
    l'offre de leur part des départs, d'abord là où ils manquent le plus.""",
    f"""<b>Which bikes?</b> E-bikes make {percent(offered)} of the bikes docked and {percent(wanted)} of the rentals
    seen; a station has none {percent(without_share)} of the time. <b>To do:</b> bring their share of the offer nearer
    to their share of the rentals, first where they lack most.""",
    "Départs : borne basse, camions compris · rentals: a lower bound, lorries included",
)

# COMMAND ----------

show(recovery_table)
empty_recovery = first_of(recovery_table[recovery_table["kind"] == "empty"], "seconds")
long_share = empty_recovery["seconds_over_60_min"] / empty_recovery["seconds"]
long_part = empty_recovery["over_60_min"] / empty_recovery["episodes"]
finding(
    "empty_time_in_episodes_over_an_hour",
    long_share,
    f"""<b>Combien de temps ?</b> La moitié des épisodes vides durent au plus
    {empty_recovery["median_seconds"] / 60:.0f} min, mais ceux de plus d'une heure ({percent(long_part)} d'entre eux)
    font {percent(long_share)} du temps vide. <b>À faire :</b> un engagement sur la durée (aucune station vide plus
    d'une heure en journée), avec une alerte à 30 minutes.""",
    f"""<b>For how long?</b> Half of the empty episodes last at most
    {empty_recovery["median_seconds"] / 60:.0f} min, yet those of over an hour ({percent(long_part)} of them) make
    {percent(long_share)} of the empty time. <b>To do:</b> a service level on duration (no station empty for over an
    hour by day), with an alert at 30 minutes.""",
    f"""{empty_recovery["episodes"]:.0f} épisodes, dont {empty_recovery["seen_whole"]:.0f} vus en entier · seen whole ;
    les autres sont des bornes basses · the others are lower bounds""",
)

# COMMAND ----------

network_known, network_served = stations_table["seconds_known"].sum(), stations_table["seconds_in_service"].sum()
never = stations_table[stations_table["seconds_in_service"] == 0]
frozen = station_moves_table[
    (station_moves_table["waking_seconds"] >= LEAST_SECONDS) & (station_moves_table["waking_changes"] == 0)
]
out_of_service = 1 - network_served / network_known
show(
    stations_table.assign(out_share=1 - stations_table["seconds_in_service"] / stations_table["seconds_known"])
    .groupby("zone", as_index=False)
    .agg(stations=("station_code", "size"), out_of_service_share=("out_share", "mean"))
    .sort_values("out_of_service_share", ascending=False),
    5,
)
finding(
    "out_of_service_share",
    out_of_service,
    f"""<b>Quel service ?</b> {percent(out_of_service)} du temps des stations est hors service, {len(never)} stations
    sur {len(stations_table)} n'ont jamais servi, et {len(frozen)} en service n'ont jamais changé en journée. <b>À faire
    :</b> remettre en service avant de bâtir ; ôter de la carte ce qui ne sert pas.""",
    f"""<b>Which service?</b> {percent(out_of_service)} of all station time is out of service, {len(never)} of
    {len(stations_table)} stations never served, {len(frozen)} in service never changed by day. <b>To do:</b> repair
    before building; take off the map what doesn't serve.""",
    f"Sans changement sur au moins · without a change over at least {LEAST_SECONDS // HOUR} h",
)

# COMMAND ----------

docks_out = stations_table["unusable_docks_mean"].sum()
docks_all = stations_table.loc[stations_table["unusable_docks_mean"].notna(), "capacity"].sum()
full_time, full_unusable = stations_table["seconds_full"].sum(), stations_table["seconds_full_unusable"].sum()
unusable_when_full = full_unusable / full_time if full_time else 0.0
show(
    stations_table.sort_values("unusable_docks_mean", ascending=False)[
        ["station_code", "name", "zone", "capacity", "unusable_docks_mean", "full_share"]
    ]
)
finding(
    "full_time_with_unusable_docks",
    unusable_when_full,
    f"""<b>Quelles bornes ?</b> {docks_out:.0f} en moyenne ({percent(docks_out, docks_all)}) ne sont ni occupées ni
    libres, et {percent(unusable_when_full)} du temps plein se passe dans une station qui en a au moins une. <b>À
    faire :</b> réparer d'abord les bornes des stations souvent pleines : de la place sans chantier.""",
    f"""<b>Which docks?</b> {docks_out:.0f} on average ({percent(docks_out, docks_all)}) are neither taken nor free, and
    {percent(unusable_when_full)} of all full time is in a station that has at least one. <b>To do:</b> first repair the
    docks of stations that are often full: room without building.""",
    f"{full_time / HOUR:.0f} h pleines · full hours",
)

# COMMAND ----------

show(signs_table)
counts = signs_table.set_index("sign")["stations"]
too_small, more_docks = int(counts.get("too_small", 0)), int(counts.get("more_docks_than_used", 0))
often_empty, often_full = int(counts.get("often_empty", 0)), int(counts.get("often_full", 0))
finding(
    "stations_too_small",
    too_small,
    f"""<b>Les capacités sont-elles les bonnes ?</b> Trop petites (souvent vides <i>et</i> pleines) : {too_small}
    stations. Souvent vides seulement : {often_empty} ; souvent pleines seulement : {often_full} : là, c'est l'équilibre
    des flux qui manque avant les bornes. Plus de bornes qu'il n'en sert : {more_docks}. <b>À faire :</b> agrandir les
    premières avec les bornes des dernières, réguler les autres.""",
    f"""<b>Are the capacities right?</b> Too small (often empty <i>and</i> full): {too_small} stations. Only often
    empty: {often_empty}; only often full: {often_full}: there the balance of flows lacks before docks do. More docks
    than used: {more_docks}. <b>To do:</b> enlarge the first with docks of the last, regulate the others.""",
    f"Seuil · threshold {percent(OFTEN)} ; stations vues au moins · seen for at least {LEAST_SECONDS // HOUR} h",
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## 12. Bonus : une partition contre deux · *Bonus: one partition against two*
# MAGIC La même requête (moyenne par station, depuis le CSV) sur la lecture par défaut, en une partition (`coalesce(1)`
# MAGIC : un seul lecteur ; `repartition(1)` : lecture parallèle puis tout vers une tâche) et en deux. Un tour
# MAGIC d'échauffement non compté, puis cinq tours où les variantes alternent, pour qu'une lenteur passagère les touche
# MAGIC toutes ; on garde la médiane.
# MAGIC
# MAGIC *The same query (mean of each station, from the CSV) over the default reading, one partition (`coalesce(1)`:
# MAGIC one reader; `repartition(1)`: parallel reading, then all rows to one task) and two. One warm-up round that
# MAGIC isn't counted, then five rounds in which the variants alternate, so that a passing slowness hits them all; the
# MAGIC median counts.*

# COMMAND ----------

VARIANTS = {
    "défaut · default": read(),
    "1: coalesce(1)": read().coalesce(1),
    "1: repartition(1)": read().repartition(1),
    "2: repartition(2)": read().repartition(2),
}
ROUNDS = 5


def station_means(frame: DataFrame) -> DataFrame:
    """The timed query: mean bikes of each station, then one row."""
    means = frame.groupBy("station_code").agg(
        (F.sum(F.col("seconds") * F.col("bikes")) / F.sum("seconds")).alias("mean")
    )
    return means.agg(F.count("*").alias("stations"), F.round(F.sum("mean"), 3).alias("bikes"))


def plan(frame: DataFrame) -> str:
    """The tree of the physical plan, without the details of each step (which hold paths)."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        frame.explain("formatted")
    return text.getvalue().split("\n\n\n")[0].strip()


seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
answers = set()
for turn in range(ROUNDS + 1):
    for name, frame in VARIANTS.items():
        start = time.perf_counter()
        answer = station_means(frame).collect()[0]
        if turn > 0:
            seconds[name].append(time.perf_counter() - start)
        answers.add((answer["stations"], answer["bikes"]))
if len(answers) != 1:
    msg = f"the variants disagree: {answers}"
    raise AssertionError(msg)

timings_table = pd.DataFrame(
    [
        (name, len(rows_by_partition(VARIANTS[name])), statistics.median(taken), min(taken), max(taken))
        for name, taken in seconds.items()
    ],
    columns=["variant", "partitions", "median_seconds", "least", "most"],
)
timings_table["against_default"] = timings_table["median_seconds"] / timings_table["median_seconds"][0]
TABLES["timings"] = timings_table
show(timings_table)

# COMMAND ----------

for name, frame in VARIANTS.items():
    print(f"--- {name}\n{plan(station_means(frame))}\n")

# COMMAND ----------

figure, axes = plt.subplots(figsize=(7, 2.4), dpi=80)
axes.barh(timings_table["variant"][::-1], timings_table["median_seconds"][::-1], color="slategray")
axes.set_xlabel("secondes, médiane · seconds, median")
figure.tight_layout(rect=(0, 0.05, 1, 1))
finish(figure)

# COMMAND ----------

# MAGIC %md
# MAGIC **Pourquoi.** Une partition est une tâche, et une tâche occupe un cœur. Lire et décoder le CSV est presque tout
# MAGIC le travail : deux partitions **à la lecture** (le défaut ici, sur deux cœurs) battent donc une seule
# MAGIC (`coalesce(1)`), où un cœur lit tout. **Après** la lecture, c'est autre chose : `repartition(n)` ajoute un
# MAGIC *Exchange* qui déplace chaque ligne avant l'agrégation, là où le défaut agrège d'abord sur place et ne déplace
# MAGIC qu'une ligne par station et partition. `repartition(2)` paie encore les *Exchanges* de l'agrégation ;
# MAGIC `repartition(1)` ne les paie pas, puisque tout est déjà au même endroit : pour un calcul aussi petit, une
# MAGIC partition peut alors aller plus vite que deux. Plus de partitions que de cœurs n'apporte rien à cette taille,
# MAGIC et un CSV compressé (`.gz`) ne se découpe pas : il est lu en une partition, quoi qu'on demande.
# MAGIC
# MAGIC ***Why.*** *A partition is a task, a task takes a core. Reading and parsing the CSV is nearly all of the work:
# MAGIC two partitions at reading (the default here, on two cores) beat one (`coalesce(1)`), where one core reads all.
# MAGIC After reading it is different: `repartition(n)` adds an Exchange that moves each row before the aggregation,
# MAGIC where the default aggregates in place first and moves one row a station and partition. `repartition(2)` pays
# MAGIC the Exchanges of the aggregation too; `repartition(1)` doesn't, since all is in one place already: for so small
# MAGIC a computation one partition can then be faster than two. More partitions than cores bring nothing at this size,
# MAGIC and a gzipped CSV can't be split: it is read in one partition whatever is asked.*
