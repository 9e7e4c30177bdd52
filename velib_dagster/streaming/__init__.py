"""The streaming job: Kafka → Spark Structured Streaming → PostgreSQL.

Pure queries (`windows.py`), what becomes of their batches (`sink.py`), and the job that runs them (`job.py`).
"""
