"""From the feed to reports: the first step of the way of the data."""
