-- station_hours: one row per station and hour, sums over its spells. {spells}: the prepared spells.
SELECT
    station_code,
    hour_start,
    day,
    hour,
    weekend,
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
GROUP BY station_code, hour_start, day, hour, weekend
