"""Tests of the streaming job on a real broker, PostgreSQL and Spark."""
