-- DuckDB: station_days counted again from the spells of recount/spells.sql.
SELECT station_code, day, 
    sum(seconds) AS seconds,
    sum(if(served, seconds, 0)) AS seconds_in_service,
    sum(if(served AND bikes = 0, seconds, 0)) AS seconds_empty,
    sum(if(served AND docks = 0, seconds, 0)) AS seconds_full,
    sum(if(served, seconds * bikes, 0)) AS bikes_seconds,
    sum(if(served AND docks IS NOT NULL, seconds * docks, 0)) AS docks_seconds,
    sum(if(touching, list_sum([greatest(-move, 0) FOR move IN moves]), 0)) AS rentals,
    sum(if(touching, list_sum([greatest(move, 0) FOR move IN moves]), 0)) AS returns, 
    sum(if(served AND capacity > 0, seconds * bikes::DOUBLE / capacity, 0)) AS occupancy_seconds,
    min(if(served, bikes, NULL)) AS bikes_min, max(if(served, bikes, NULL)) AS bikes_max,
    sum(if(served AND docks IS NOT NULL, seconds, 0)) AS seconds_docks_known,
    sum(if(served AND mechanical IS NOT NULL AND ebike IS NOT NULL, seconds, 0)) AS seconds_split_known,
    sum(if(served AND capacity > 0, seconds, 0)) AS seconds_occupancy_known,
    sum(if(served AND mechanical IS NOT NULL AND ebike IS NOT NULL, seconds * mechanical, 0)) AS mechanical_seconds,
    sum(if(served AND mechanical IS NOT NULL AND ebike IS NOT NULL, seconds * ebike, 0)) AS ebike_seconds,
    min(if(served, mechanical, NULL)) AS mechanical_min, max(if(served, mechanical, NULL)) AS mechanical_max,
    min(if(served, ebike, NULL)) AS ebike_min, max(if(served, ebike, NULL)) AS ebike_max,
    min(if(served, docks, NULL)) AS docks_min, max(if(served, docks, NULL)) AS docks_max,
    sum(if(served AND docks IS NOT NULL AND capacity > bikes + docks, seconds * (capacity - bikes - docks), 0))
        AS unusable_docks_seconds,
    sum(if(served AND capacity > 0 AND bikes + docks > capacity, seconds * (bikes + docks - capacity), 0))
        AS overflow_seconds,
    sum(if(touching AND differs, 1, 0)) AS changes,
    sum(if(served AND extract(hour FROM wall) IN (6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21), seconds, 0))
        AS waking_seconds,
    sum(if(touching AND differs AND extract(hour FROM wall) >= 6 AND extract(hour FROM wall) < 22, 1, 0))
        AS waking_changes
FROM s GROUP BY station_code, day
