"""CSV → statistics of stations, zones, cells and outages, by Spark's DataFrame API and by Spark SQL."""
