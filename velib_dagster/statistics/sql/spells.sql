-- The prepared spells: the archive's spells of the days asked for, each with its local day and hour, its service, and
-- what it shares with the touching spell before and after of its station. All other files read these.
-- {spells}: rows of the archive. :timezone, :first_day, :last_day: which days. The session's time zone must be UTC.
WITH local_spells AS (
    SELECT
        *,
        from_utc_timestamp(since, :timezone) AS local_since,
        is_installed AND is_renting AND is_returning AS in_service
    FROM {spells}
),
dated AS (
    SELECT
        *,
        to_date(local_since) AS day,
        CAST(hour(local_since) AS BIGINT) AS hour,
        -- Not date_trunc of the local time: the night that sets clocks back has two hours of one name.
        timestamp_seconds(unix_seconds(since) - unix_seconds(local_since) % 3600) AS hour_start,
        weekday(local_since) >= 5 AS weekend,
        hour(local_since) BETWEEN 6 AND 21 AS waking,
        in_service AND docks IS NOT NULL AS docks_known,
        in_service AND bikes = 0 AS empty,
        -- Docks decide, never bikes = capacity: broken docks hide most full stations from that test.
        in_service AND coalesce(docks = 0, false) AS full
    FROM local_spells
),
neighboured AS (
    SELECT
        *,
        lag(struct(*)) OVER in_time AS before,
        lead(struct(*)) OVER in_time AS after
    FROM dated
    WINDOW in_time AS (PARTITION BY station_code ORDER BY since)
),
touched AS (
    SELECT
        *,
        coalesce(before.until = since, false) AS touches_before,
        coalesce(after.since = until AND after.day = day, false) AS touches_after
    FROM neighboured
    WHERE day BETWEEN :first_day AND :last_day
)
SELECT
    station_code, day, hour_start, hour, weekend, waking, name, zone, cell, lat, lon, capacity,
    since, until, seconds, bikes, mechanical, ebike, docks, in_service, docks_known, empty, full,
    CASE
        WHEN NOT touches_before THEN 0
        WHEN mechanical + ebike + before.mechanical + before.ebike IS NOT NULL
            THEN greatest(before.mechanical - mechanical, 0) + greatest(before.ebike - ebike, 0)
        ELSE greatest(before.bikes - bikes, 0)
    END AS rentals,
    CASE
        WHEN NOT touches_before THEN 0
        WHEN mechanical + ebike + before.mechanical + before.ebike IS NOT NULL
            THEN greatest(mechanical - before.mechanical, 0) + greatest(ebike - before.ebike, 0)
        ELSE greatest(bikes - before.bikes, 0)
    END AS returns,
    touches_before AND NOT struct(
        bikes, mechanical, ebike, docks, capacity, is_installed, is_renting, is_returning
    ) <=> struct(
        before.bikes, before.mechanical, before.ebike, before.docks, before.capacity,
        before.is_installed, before.is_renting, before.is_returning
    ) AS changed,
    after IS NULL OR after.day <> day AS newest,
    touches_before AND before.in_service AND before.bikes > 0 AS bike_before,
    touches_before AND before.in_service AND coalesce(before.docks > 0, false) AS dock_before,
    touches_after AND after.in_service AND after.bikes > 0 AS bike_after,
    touches_after AND after.in_service AND coalesce(after.docks > 0, false) AS dock_after
FROM touched
