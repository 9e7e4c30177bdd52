"""velib_dagster: an open bike-share data platform. The way of the data is the list of this folder's sub-folders."""
