"""Tests of the notebooks in `spark/notebooks`: their source, their rendered copy, and whole runs of them."""
