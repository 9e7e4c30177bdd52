# Databricks notebook source
# MAGIC %md
# MAGIC # Vélib', partie 4 : une station sera-t-elle pleine ?
# MAGIC **Le modèle du sujet, en une page** : une seule station, les bornes libres aux instants t−1, t−2, t−3 (un pas
# MAGIC : 5 minutes), la régression logistique de `pyspark.ml`. En face, la **persistance** : « pleine si elle l'est
# MAGIC déjà ». C'est elle qu'il faut battre, et les deux se mesurent sur les mêmes instants, plus tard que
# MAGIC l'apprentissage.
# MAGIC
# MAGIC Sur Databricks (*Free Edition*) : comme le notebook de la partie 3, `velib export velib.csv` puis *Upload to
# MAGIC this volume* ; le chemin est un widget. Ailleurs, `velib.csv` est lu dans le dossier courant. Données : Vélib'
# MAGIC Métropole / Smovengo, Ville de Paris, licence ODbL 1.0.
# MAGIC
# MAGIC ---
# MAGIC *The model of the brief in one page: one station, free docks at t−1, t−2, t−3 (steps of 5 minutes), logistic
# MAGIC regression of `pyspark.ml`, against persistence ("full if it is full already"), on the same instants, later
# MAGIC than those it learned from. On Databricks as the notebook of part 3: the path of the CSV is a widget.
# MAGIC Elsewhere it reads `velib.csv` in the current folder. Data: Vélib' Métropole / Smovengo, Ville de Paris, ODbL
# MAGIC 1.0.*

# COMMAND ----------

import pandas as pd
from IPython.display import display
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - the name of all Spark documentation

spark = SparkSession.builder.getOrCreate()
dbutils = globals().get("dbutils")
if dbutils is None:
    PATH, TIMEZONE, STATION = "velib.csv", "Europe/Paris", ""
else:
    dbutils.widgets.text("path", "/Volumes/workspace/default/velib/velib.csv", "CSV")
    dbutils.widgets.text("timezone", "Europe/Paris", "Fuseau / Time zone")
    dbutils.widgets.text("station", "", "Station (vide / empty: la plus souvent pleine)")
    PATH, TIMEZONE, STATION = (dbutils.widgets.get(name) for name in ("path", "timezone", "station"))
spark.conf.set("spark.sql.session.timeZone", TIMEZONE)
STEP = 300  # seconds from one instant to the next
LAGS = ["docks_1", "docks_2", "docks_3"]

# COMMAND ----------

# MAGIC %md
# MAGIC ## 1. Des spells à une grille régulière · *From spells to a regular grid*
# MAGIC Un spell dit qu'une station a gardé un état de `since` à `until`. Toutes les 5 minutes, on lit l'état du
# MAGIC moment. Une station hors service, ou un trou dans les données, ne donne **pas** de ligne : rien n'est inventé.
# MAGIC
# MAGIC *A spell says that a station held a state from `since` to `until`: every 5 minutes we read the state of the
# MAGIC moment. A closed station or a gap gives no row: nothing is made up.*

# COMMAND ----------

spells = (
    spark.read.option("header", True)
    .csv(PATH)
    .where("is_installed = 'true' AND is_renting = 'true' AND is_returning = 'true' AND docks IS NOT NULL")
    .select(
        "station_code",
        F.unix_timestamp(F.col("since").cast("timestamp")).alias("since"),
        F.unix_timestamp(F.col("until").cast("timestamp")).alias("until"),
        F.col("docks").cast("int").alias("docks"),
    )
)
first, last = F.ceil(F.col("since") / STEP), F.floor((F.col("until") - 1) / STEP)
grid = spells.where(first <= last).select("station_code", "docks", F.explode(F.sequence(first, last)).alias("mark"))
day = F.to_date(F.timestamp_seconds(F.col("mark") * STEP))
grid = grid.withColumn("day", day)

days = [row["day"] for row in grid.select("day").distinct().orderBy("day").collect()]
test_from = days[-max(1, len(days) // 4)]
validate_from = [known for known in days if known < test_from][-1]
print(f"{len(days)} jours · days: {days[0]} … {days[-1]}; validation {validate_from}, test {test_from} …")

# COMMAND ----------

# MAGIC %md
# MAGIC ## 2. Une station · *One station*
# MAGIC La plupart des stations ne sont jamais pleines : un modèle n'y apprend rien. On prend celle qui l'est le plus
# MAGIC souvent **pendant les jours d'apprentissage**, parmi celles qui ne le sont pas toujours.
# MAGIC
# MAGIC *Most stations are never full, and teach nothing. We take the one most often full in the training days.*

# COMMAND ----------

often = (
    grid.where(F.col("day") < F.lit(validate_from))
    .groupBy("station_code")
    .agg(F.avg((F.col("docks") == 0).cast("double")).alias("full"), F.count("*").alias("rows"))
    .where("full < 0.9")
    .orderBy(F.desc("full"), "station_code")
)
display(often.limit(5).toPandas())
station = STATION or often.collect()[0]["station_code"]

in_time = Window.partitionBy("station_code").orderBy("mark")
rows = grid.where(F.col("station_code") == station)
for number, name in enumerate(LAGS, start=1):
    # Only where that instant itself is known: after a gap the row before is not the instant before.
    known = F.lag("mark", number).over(in_time) == F.col("mark") - number
    rows = rows.withColumn(name, F.when(known, F.lag("docks", number).over(in_time)))
rows = rows.dropna(subset=LAGS).withColumn("label", (F.col("docks") == 0).cast("double"))
print(f"station {station}: {rows.count()} instants")

# COMMAND ----------

# MAGIC %md
# MAGIC ## 3. Apprendre, régler le seuil, mesurer · *Learn, tune the threshold, measure*
# MAGIC Le temps sépare les trois parties, jamais le hasard : deux instants voisins se ressemblent trop. Le seuil se
# MAGIC règle sur le jour de validation ; à 0,5, une régression sur un événement rare ne dit presque jamais « pleine
# MAGIC ».
# MAGIC
# MAGIC *Time divides the parts, never chance: instants next to each other are nearly the same. The threshold is tuned
# MAGIC on the validation day.*

# COMMAND ----------

train = rows.where(F.col("day") < F.lit(validate_from))
assembler = VectorAssembler(inputCols=LAGS, outputCol="features")
model = LogisticRegression(maxIter=50).fit(assembler.transform(train))
print("coefficients:", dict(zip(LAGS, model.coefficients.toArray().round(3).tolist(), strict=True)))

scored = (
    model.transform(assembler.transform(rows.where(F.col("day") >= F.lit(validate_from))))
    .select("day", "mark", "label", *LAGS, vector_to_array(F.col("probability"))[1].alias("risk"))
    .toPandas()
)
scored["persistence"] = (scored["docks_1"] == 0).astype(float)
validation = scored[scored["day"] < test_from]
test = scored[scored["day"] >= test_from]


def f1(frame: pd.DataFrame, called: "pd.Series[bool]") -> float:
    """F1 of what is called full."""
    hits = (called & (frame["label"] == 1)).sum()
    return 2 * hits / max(called.sum() + frame["label"].sum(), 1)


def average_precision(frame: pd.DataFrame, score: str) -> float:
    """PR-AUC: the precision at each score, weighted by the recall that it adds."""
    by_score = frame.groupby(score)["label"].agg(["sum", "size"]).sort_index(ascending=False)
    precision = by_score["sum"].cumsum() / by_score["size"].cumsum()
    return float((precision * by_score["sum"]).sum() / max(frame["label"].sum(), 1))


threshold = max(sorted(set(validation["risk"])), key=lambda value: f1(validation, validation["risk"] >= value))
figures = pd.DataFrame(
    {
        "PR-AUC": [average_precision(test, "risk"), average_precision(test, "persistence")],
        "F1": [f1(test, test["risk"] >= threshold), f1(test, test["persistence"] == 1)],
        "Brier": [((test[name] - test["label"]) ** 2).mean() for name in ("risk", "persistence")],
    },
    index=["logistic regression", "persistence"],
)
print(f"{len(test)} instants, {test['label'].mean():.1%} pleine · full; seuil · threshold {threshold:.3f}")
display(figures.round(4))

# COMMAND ----------

# MAGIC %md
# MAGIC ## 4. Lire le résultat · *What it says*
# MAGIC À 5 minutes, une station pleine le reste le plus souvent : la persistance est un rival sérieux, et le F1 des
# MAGIC deux se tient. La régression gagne ailleurs : elle donne un **risque** (score de Brier plus bas, PR-AUC plus
# MAGIC haut), donc un ordre entre les stations « presque pleines », ce que la persistance ne sait pas faire. Une
# MAGIC seule station et quelques jours ne prouvent rien : `velib train` fait la comparaison sur tout le réseau, à 5,
# MAGIC 15, 30 et 60 minutes, avec des intervalles, et la garde dans MLflow.
# MAGIC
# MAGIC *Five minutes ahead a full station mostly stays full, so that persistence is hard to beat in F1. The
# MAGIC regression gains elsewhere: it gives a risk, and so an order among nearly full stations. One station and a few
# MAGIC days prove nothing: `velib train` compares over the whole network at 5, 15, 30 and 60 minutes, with intervals,
# MAGIC and keeps it in MLflow.*
