-- Runs: touching spells of one station, day and place with the same service, emptiness and fullness, as one row.
-- Shared by the joint outages of areas and by the episodes. {spells}: the prepared spells.
WITH marked AS (
    SELECT
        *,
        coalesce(
            lag(until) OVER in_time = since
            AND lag(struct(zone, cell, in_service, docks_known, empty, full)) OVER in_time
                = struct(zone, cell, in_service, docks_known, empty, full),
            false
        ) AS goes_on
    FROM {spells}
    WINDOW in_time AS (PARTITION BY station_code, day ORDER BY since)
),
numbered AS (
    SELECT *, count_if(NOT goes_on) OVER (PARTITION BY station_code, day ORDER BY since) AS number
    FROM marked
)
SELECT
    station_code, day, zone, cell, in_service, docks_known, empty, full,
    min(since) AS since,
    max(until) AS until,
    min_by(bike_before, since) AS bike_before,
    min_by(dock_before, since) AS dock_before,
    max_by(bike_after, since) AS bike_after,
    max_by(dock_after, since) AS dock_after
FROM numbered
GROUP BY station_code, day, number, zone, cell, in_service, docks_known, empty, full
