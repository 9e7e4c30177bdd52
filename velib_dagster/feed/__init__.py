"""From the feed to reports: the first step of the way of the data.

For users of the feed there are two functions, `get_velib_data` and `get_station`, which give the API's own fields.
"""

from velib_dagster.feed.dataset import get_station, get_velib_data

__all__ = ["get_station", "get_velib_data"]
