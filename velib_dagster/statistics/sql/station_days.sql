-- station_days: one row per station and day, sums over its spells. {spells}: the prepared spells.
-- Means are quotients of two sums, e.g. bikes_seconds / seconds_in_service: never a plain average of rows.
SELECT
    station_code,
    day,
    max_by(name, since) AS name,
    max_by(zone, since) AS zone,
    max_by(cell, since) AS cell,
    max_by(lat, since) AS lat,
    max_by(lon, since) AS lon,
    max_by(capacity, since) AS capacity,
    sum(seconds) AS seconds,
    coalesce(sum(seconds) FILTER (WHERE in_service), 0) AS seconds_in_service,
    coalesce(sum(seconds) FILTER (WHERE empty), 0) AS seconds_empty,
    coalesce(sum(seconds) FILTER (WHERE full), 0) AS seconds_full,
    coalesce(sum(seconds) FILTER (WHERE docks_known), 0) AS seconds_docks_known,
    coalesce(sum(seconds) FILTER (WHERE in_service AND mechanical + ebike IS NOT NULL), 0) AS seconds_split_known,
    coalesce(sum(seconds) FILTER (WHERE in_service AND capacity > 0), 0) AS seconds_occupancy_known,
    coalesce(sum(seconds * bikes) FILTER (WHERE in_service), 0) AS bikes_seconds,
    coalesce(
        sum(seconds * mechanical) FILTER (WHERE in_service AND ebike IS NOT NULL), 0
    ) AS mechanical_seconds,
    coalesce(sum(seconds * ebike) FILTER (WHERE in_service AND mechanical IS NOT NULL), 0) AS ebike_seconds,
    coalesce(sum(seconds * docks) FILTER (WHERE in_service), 0) AS docks_seconds,
    -- Decimals, so that the sum does not depend on the order of the rows. nullif, since a filter may be
    -- applied after its value was computed.
    CAST(coalesce(sum(
        CAST(CAST(seconds * bikes AS DECIMAL(18, 0)) / CAST(nullif(capacity, 0) AS DECIMAL(10, 0))
        AS DECIMAL(28, 12))
    ) FILTER (WHERE in_service AND capacity > 0), 0) AS DOUBLE) AS occupancy_seconds,
    min(bikes) FILTER (WHERE in_service) AS bikes_min,
    max(bikes) FILTER (WHERE in_service) AS bikes_max,
    min(mechanical) FILTER (WHERE in_service) AS mechanical_min,
    max(mechanical) FILTER (WHERE in_service) AS mechanical_max,
    min(ebike) FILTER (WHERE in_service) AS ebike_min,
    max(ebike) FILTER (WHERE in_service) AS ebike_max,
    min(docks) FILTER (WHERE in_service) AS docks_min,
    max(docks) FILTER (WHERE in_service) AS docks_max,
    coalesce(sum(seconds) FILTER (WHERE in_service AND bikes <= 2), 0) AS seconds_low_bikes,
    coalesce(sum(seconds) FILTER (WHERE in_service AND docks <= 2), 0) AS seconds_low_docks,
    coalesce(sum(seconds) FILTER (WHERE in_service AND ebike > 0 AND mechanical = 0), 0) AS seconds_ebike_only,
    coalesce(sum(seconds) FILTER (WHERE in_service AND mechanical > 0 AND ebike = 0), 0) AS seconds_mechanical_only,
    coalesce(sum(seconds * capacity) FILTER (WHERE in_service AND capacity > 0), 0) AS capacity_seconds,
    coalesce(sum(seconds * bikes) FILTER (WHERE in_service AND capacity > 0), 0) AS bikes_capacity_known_seconds,
    coalesce(sum(seconds) FILTER (WHERE docks_known AND capacity > 0), 0) AS seconds_balance_known,
    coalesce(
        sum(seconds * greatest(capacity - bikes - docks, 0)) FILTER (WHERE docks_known AND capacity > 0), 0
    ) AS unusable_docks_seconds,
    coalesce(
        sum(seconds * greatest(bikes + docks - capacity, 0)) FILTER (WHERE docks_known AND capacity > 0), 0
    ) AS overflow_seconds,
    sum(rentals) AS rentals,
    sum(returns) AS returns,
    sum(CAST(changed AS BIGINT)) AS changes,
    coalesce(sum(seconds) FILTER (WHERE in_service AND waking), 0) AS waking_seconds,
    sum(CAST(changed AND waking AS BIGINT)) AS waking_changes
FROM {spells}
GROUP BY station_code, day
