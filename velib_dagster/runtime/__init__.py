"""The parts that a laptop lacks, as supervised child processes; only the command line and tests use it."""
