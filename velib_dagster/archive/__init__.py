"""From Kafka to CSV, exactly once: writing the archive, reading it, exporting it as one file.

Only finished spells come here; what statistics or windows make of them belongs elsewhere.
"""
