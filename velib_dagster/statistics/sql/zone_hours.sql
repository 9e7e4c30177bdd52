-- zone_hours: one row per zone and hour, sums over the spells of its stations. {spells}: the prepared spells.
SELECT
    zone,
    hour_start,
    day,
    hour,
    weekend,
    count(DISTINCT station_code) AS stations,
    sum(seconds) AS seconds,
    coalesce(sum(seconds) FILTER (WHERE in_service), 0) AS seconds_in_service,
    coalesce(sum(seconds) FILTER (WHERE empty), 0) AS seconds_empty,
    coalesce(sum(seconds) FILTER (WHERE full), 0) AS seconds_full,
    coalesce(sum(seconds) FILTER (WHERE docks_known), 0) AS seconds_docks_known,
    coalesce(sum(seconds) FILTER (WHERE in_service AND mechanical + ebike IS NOT NULL), 0) AS seconds_split_known,
    coalesce(sum(seconds * bikes) FILTER (WHERE in_service), 0) AS bikes_seconds,
    coalesce(
        sum(seconds * mechanical) FILTER (WHERE in_service AND ebike IS NOT NULL), 0
    ) AS mechanical_seconds,
    coalesce(sum(seconds * ebike) FILTER (WHERE in_service AND mechanical IS NOT NULL), 0) AS ebike_seconds,
    coalesce(sum(seconds * docks) FILTER (WHERE in_service), 0) AS docks_seconds,
    sum(rentals) AS rentals,
    sum(returns) AS returns
FROM {spells}
GROUP BY zone, hour_start, day, hour, weekend
