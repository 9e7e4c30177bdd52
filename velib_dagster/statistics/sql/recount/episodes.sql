-- DuckDB: episodes counted again from the spells of recount/spells.sql, by pairing starts with ends; cluster outages as
-- what no neighbour helps out of, moment by moment. Spells end at each 10-minute mark: what overlaps shares its mark.
WITH states AS (
    SELECT 'empty' AS kind, *, served AND bikes = 0 AS lacks, served AS known,
        touching AND previous_served AND previous_bikes > 0 AS begins, served AND bikes > 0 AS ends FROM s
    UNION ALL
    SELECT 'full', *, served AND docks IS NOT DISTINCT FROM 0, served AND docks IS NOT NULL,
        coalesce(touching AND previous_served AND previous_docks > 0, false),
        coalesce(served AND docks > 0, false) FROM s
), starts AS (
    SELECT kind, station_code, day, since, begins FROM states AS n WHERE lacks AND NOT EXISTS (
        FROM states AS p WHERE p.lacks AND p.kind = n.kind AND p.station_code = n.station_code AND p.day = n.day
            AND p.until = n.since)
), stops AS (
    SELECT n.kind, n.station_code, n.day, n.until, coalesce(f.ends, false) AS ended
    FROM states AS n LEFT JOIN states AS f
        ON f.kind = n.kind AND f.station_code = n.station_code AND f.day = n.day AND f.since = n.until
    WHERE n.lacks AND NOT coalesce(f.lacks, false)
), single AS (
    SELECT starts.kind, starts.station_code, starts.day, since, stops.until, NOT begins AS open_start,
        NOT ended AS open_end
    FROM starts ASOF JOIN stops ON starts.kind = stops.kind AND starts.station_code = stops.station_code
        AND starts.day = stops.day AND starts.since < stops.until
), places AS (
    SELECT station_code, day, arg_max(zone, since) AS zone, arg_max(lat, since) AS lat, arg_max(lon, since) AS lon
    FROM s GROUP BY station_code, day
), near AS (
    SELECT a.day, a.station_code AS centre, b.station_code AS member FROM places AS a JOIN places AS b
        ON a.day = b.day AND b.lat BETWEEN a.lat - 0.01 AND a.lat + 0.01
    WHERE a.station_code <> b.station_code AND 2 * 6371008.8 * atan2(
        sqrt(sin(radians(b.lat - a.lat) / 2) ** 2
            + cos(radians(a.lat)) * cos(radians(b.lat)) * sin(radians(b.lon - a.lon) / 2) ** 2),
        sqrt(1 - sin(radians(b.lat - a.lat) / 2) ** 2
            - cos(radians(a.lat)) * cos(radians(b.lat)) * sin(radians(b.lon - a.lon) / 2) ** 2)) <= 300
), helped AS (
    SELECT c.kind, c.station_code, c.day, greatest(c.since, h.since) AS since, least(c.until, h.until) AS until
    FROM states AS c JOIN near ON near.centre = c.station_code AND near.day = c.day
        JOIN states AS h ON h.station_code = near.member AND h.kind = c.kind AND h.day = c.day AND h.known
            AND NOT h.lacks AND h.since < c.until AND h.until > c.since
            AND time_bucket(INTERVAL 10 MINUTES, h.since) = time_bucket(INTERVAL 10 MINUTES, c.since)
    WHERE c.lacks
), moments AS (
    SELECT kind, station_code, day, instant,
        lead(instant) OVER (PARTITION BY kind, station_code, day ORDER BY instant) AS next
    FROM (
        SELECT kind, station_code, day, unnest([since, until]) AS instant FROM states WHERE lacks
        UNION SELECT kind, station_code, day, unnest([since, until]) FROM helped
        UNION SELECT kind, station_code, day,
            timezone($timezone, unnest([day + INTERVAL 6 HOURS, day + INTERVAL 22 HOURS])) FROM states WHERE lacks
    )
), outages AS (
    SELECT m.kind, m.station_code, m.day, m.instant, m.next
    FROM moments AS m JOIN states AS c ON c.lacks AND c.kind = m.kind AND c.station_code = m.station_code
        AND c.day = m.day AND c.since <= m.instant AND c.until > m.instant
        AND time_bucket(INTERVAL 10 MINUTES, c.since) = time_bucket(INTERVAL 10 MINUTES, m.instant)
    ANTI JOIN helped AS h ON h.kind = m.kind AND h.station_code = m.station_code AND h.day = m.day
        AND h.since <= m.instant AND h.until > m.instant
), awake AS (
    SELECT * FROM outages WHERE extract(hour FROM timezone($timezone, instant)) BETWEEN 6 AND 21
), joined AS (
    SELECT kind, station_code, day, min(instant) AS since, max(next) AS until FROM (
        SELECT *, count(*) FILTER (fresh) OVER station AS number FROM (
            SELECT *, instant IS DISTINCT FROM lag(next) OVER station AS fresh FROM awake
            WINDOW station AS (PARTITION BY kind, station_code, day ORDER BY instant)
        ) WINDOW station AS (PARTITION BY kind, station_code, day ORDER BY instant)
    )
    GROUP BY kind, station_code, day, number
), cluster AS (
    SELECT 'cluster_' || j.kind AS kind, j.station_code, j.day, j.since, j.until,
        NOT coalesce(p.known, false) OR b.instant IS NOT NULL AS open_start,
        NOT coalesce(f.known, false) OR a.instant IS NOT NULL AS open_end
    FROM joined AS j
        LEFT JOIN states AS p ON p.kind = j.kind AND p.station_code = j.station_code AND p.day = j.day
            AND p.since < j.since AND p.until >= j.since
        LEFT JOIN states AS f ON f.kind = j.kind AND f.station_code = j.station_code AND f.day = j.day
            AND f.since <= j.until AND f.until > j.until
        LEFT JOIN outages AS b ON b.kind = j.kind AND b.station_code = j.station_code AND b.day = j.day
            AND b.next = j.since
        LEFT JOIN outages AS a ON a.kind = j.kind AND a.station_code = j.station_code AND a.day = j.day
            AND a.instant = j.until
    WHERE date_diff('second', j.since, j.until) > 600
)
SELECT kind, station_code, day, since, until, date_diff('second', since, until) AS seconds, open_start, open_end, zone
FROM (FROM single UNION ALL FROM cluster) JOIN places USING (station_code, day)
