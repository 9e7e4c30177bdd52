-- DuckDB: the days' spells, each with the one before that it touches. A join instead of a window: two spells of one
-- station never end at the same moment.
CREATE TEMP TABLE s AS
SELECT n.*, timezone($timezone, n.since) AS wall, CAST(timezone($timezone, n.since) AS DATE) AS day,
    n.is_installed AND n.is_renting AND n.is_returning AS served,
    p.since IS NOT NULL AS touching,
    (p.bikes, p.mechanical, p.ebike, p.docks, p.capacity, p.is_installed, p.is_renting, p.is_returning)
        IS DISTINCT FROM
    (n.bikes, n.mechanical, n.ebike, n.docks, n.capacity, n.is_installed, n.is_renting, n.is_returning) AS differs,
    CASE WHEN n.mechanical IS NULL OR n.ebike IS NULL OR p.mechanical IS NULL OR p.ebike IS NULL
        THEN [n.bikes - p.bikes] ELSE [n.mechanical - p.mechanical, n.ebike - p.ebike] END AS moves,
    p.is_installed AND p.is_renting AND p.is_returning AS previous_served, p.bikes AS previous_bikes,
    p.docks AS previous_docks
FROM spells AS n LEFT JOIN spells AS p ON p.station_code = n.station_code AND p.until = n.since;
DELETE FROM s WHERE day NOT BETWEEN $first AND $last;
