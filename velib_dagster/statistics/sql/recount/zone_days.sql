-- DuckDB: zone_days counted again from the spells of recount/spells.sql; joint outages moment by moment. Spells end at
-- each 10-minute mark, so that what holds at a moment is found among the spells of its ten minutes.
WITH moments AS (
    SELECT zone, day, instant, lead(instant) OVER (PARTITION BY zone, day ORDER BY instant) AS next
    FROM (SELECT zone, day, since AS instant FROM s UNION SELECT zone, day, until FROM s)
), held AS (
    SELECT m.zone, m.day, date_diff('second', m.instant, m.next) AS length, bool_or(served) AS any_served,
        coalesce(max(bikes) FILTER (served), 0) AS most_bikes, max(docks) FILTER (served) AS most_docks
    FROM moments AS m JOIN s ON s.zone = m.zone AND s.day = m.day AND s.since <= m.instant AND s.until > m.instant
        AND time_bucket(INTERVAL 10 MINUTES, s.since) = time_bucket(INTERVAL 10 MINUTES, m.instant)
    GROUP BY m.zone, m.day, m.instant, m.next
), joint AS (
    SELECT zone, day, sum(length) AS seconds_covered, sum(if(any_served, length, 0)) AS seconds_served,
        sum(if(any_served AND most_bikes = 0, length, 0)) AS seconds_no_bike,
        sum(if(most_docks = 0, length, 0)) AS seconds_no_dock
    FROM held GROUP BY zone, day
)
SELECT * FROM (
    SELECT zone, day, count(DISTINCT station_code) AS stations, 
    sum(seconds) AS seconds,
    sum(if(served, seconds, 0)) AS seconds_in_service,
    sum(if(served AND bikes = 0, seconds, 0)) AS seconds_empty,
    sum(if(served AND docks = 0, seconds, 0)) AS seconds_full,
    sum(if(served, seconds * bikes, 0)) AS bikes_seconds,
    sum(if(served AND docks IS NOT NULL, seconds * docks, 0)) AS docks_seconds,
    sum(if(touching, list_sum([greatest(-move, 0) FOR move IN moves]), 0)) AS rentals,
    sum(if(touching, list_sum([greatest(move, 0) FOR move IN moves]), 0)) AS returns, 
    sum(if(served AND capacity > 0, seconds * bikes::DOUBLE / capacity, 0)) AS occupancy_seconds,
    min(if(served, bikes, NULL)) AS bikes_min, max(if(served, bikes, NULL)) AS bikes_max FROM s GROUP BY zone, day
) JOIN joint USING (zone, day)
