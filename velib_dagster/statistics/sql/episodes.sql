-- episodes: one row per episode and day. empty and full: a station in service has no bike (no free dock), from touching
-- run to touching run. cluster_empty and cluster_full: nor has any station in service within 300 m, for more than 600 s
-- between 6 and 22 h. {spells}: the prepared spells. {runs}: the result of runs.sql.
WITH lacking AS (
    SELECT 'empty' AS kind, station_code, day, since, until, bike_before AS seen_before, bike_after AS seen_after
    FROM {runs} WHERE empty
    UNION ALL
    SELECT 'full', station_code, day, since, until, dock_before, dock_after
    FROM {runs} WHERE full
),
numbered AS (
    SELECT *, count_if(NOT goes_on) OVER in_time AS number
    FROM (
        SELECT *, coalesce(lag(until) OVER in_time = since, false) AS goes_on
        FROM lacking
        WINDOW in_time AS (PARTITION BY kind, station_code, day ORDER BY since)
    )
    WINDOW in_time AS (PARTITION BY kind, station_code, day ORDER BY since)
),
of_stations AS (
    SELECT kind, station_code, day, min(since) AS since, max(until) AS until,
        NOT min_by(seen_before, since) AS open_start,
        NOT max_by(seen_after, since) AS open_end
    FROM numbered
    GROUP BY kind, station_code, day, number
),
places AS (
    SELECT station_code, day, zone, lat, lon FROM {spells} WHERE newest
),
near AS (
    -- Great-circle distance by the haversine formula, on the Earth's mean radius; the station itself is near.
    SELECT centre.day, centre.station_code AS centre, station.station_code AS member
    FROM places AS centre JOIN places AS station
        ON centre.day = station.day
        AND abs(centre.lat - station.lat) < 0.003
        AND 2 * 6371008.8 * asin(sqrt(
            pow(sin(radians(station.lat - centre.lat) / 2), 2)
            + cos(radians(centre.lat)) * cos(radians(station.lat)) * pow(sin(radians(station.lon - centre.lon) / 2), 2)
        )) <= 300
),
members AS (
    -- What each station adds to the neighbourhoods it belongs to, while it is known whether it has a bike (a dock).
    SELECT kind, centre, day, since, until, centre = member AS is_centre, lacks
    FROM near JOIN (
        SELECT 'cluster_empty' AS kind, station_code AS member, day, since, until, empty AS lacks
        FROM {runs} WHERE in_service
        UNION ALL
        SELECT 'cluster_full', station_code, day, since, until, full
        FROM {runs} WHERE docks_known
    ) USING (member, day)
),
moments AS (
    SELECT kind, centre, day, at,
        coalesce(sum(step) FILTER (WHERE is_centre), 0) AS known,
        coalesce(sum(step) FILTER (WHERE is_centre AND lacks), 0) AS lacking,
        coalesce(sum(step) FILTER (WHERE NOT lacks), 0) AS helping
    FROM (
        SELECT *, since AS at, 1 AS step FROM members
        UNION ALL
        SELECT *, until AS at, -1 AS step FROM members
    )
    GROUP BY kind, centre, day, at
),
stretches AS (
    SELECT *, lag(known) OVER in_time AS known_before, lead(known) OVER in_time AS known_after
    FROM (
        SELECT kind, centre, day, at AS since, lead(at) OVER in_time AS until,
            sum(known) OVER in_time AS known,
            sum(lacking) OVER in_time AS lacking,
            sum(helping) OVER in_time AS helping
        FROM moments
        WHERE known <> 0 OR lacking <> 0 OR helping <> 0
        WINDOW in_time AS (PARTITION BY kind, centre, day ORDER BY at)
    )
    WINDOW in_time AS (PARTITION BY kind, centre, day ORDER BY since)
),
outages AS (
    SELECT *,
        to_utc_timestamp(timestamp(day) + INTERVAL 6 HOURS, :timezone) AS day_from,
        to_utc_timestamp(timestamp(day) + INTERVAL 22 HOURS, :timezone) AS day_until
    FROM stretches
    WHERE lacking > 0 AND helping = 0
),
of_clusters AS (
    SELECT kind, centre AS station_code, day,
        greatest(since, day_from) AS since,
        least(until, day_until) AS until,
        coalesce(known_before, 0) = 0 OR since < day_from AS open_start,
        coalesce(known_after, 0) = 0 OR until > day_until AS open_end
    FROM outages
)
SELECT kind, station_code, day, since, until, unix_seconds(until) - unix_seconds(since) AS seconds,
    open_start, open_end, zone
FROM (
    SELECT * FROM of_stations
    UNION ALL
    SELECT * FROM of_clusters WHERE unix_seconds(until) - unix_seconds(since) > 600
)
JOIN places USING (station_code, day)
