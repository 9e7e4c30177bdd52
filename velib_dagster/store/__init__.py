"""PostgreSQL: how to connect, the schema and its migrations, upserts of the streaming job, small typed reads.

It knows the records (`events.records`) and the settings, never Kafka, Spark or Dagster.
"""
