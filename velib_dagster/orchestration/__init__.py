"""Dagster's view of the platform: assets, checks, jobs, schedules and sensors. Nothing else knows Dagster."""
