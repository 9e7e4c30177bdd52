-- DuckDB: station_hours counted again from the spells of recount/spells.sql.
SELECT station_code, day, since - (wall - date_trunc('hour', wall)) AS hour_start,
    sum(seconds) AS seconds,
    sum(if(served, seconds, 0)) AS seconds_in_service,
    sum(if(served AND bikes = 0, seconds, 0)) AS seconds_empty,
    sum(if(served AND docks = 0, seconds, 0)) AS seconds_full,
    sum(if(served, seconds * bikes, 0)) AS bikes_seconds,
    sum(if(served AND docks IS NOT NULL, seconds * docks, 0)) AS docks_seconds,
    sum(if(touching, list_sum([greatest(-move, 0) FOR move IN moves]), 0)) AS rentals,
    sum(if(touching, list_sum([greatest(move, 0) FOR move IN moves]), 0)) AS returns FROM s GROUP BY ALL
