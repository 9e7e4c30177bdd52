-- zone_days: one row per zone and day, sums over the spells of its stations, and its joint outages.
-- {spells}: the prepared spells. {runs}: the result of runs.sql.
WITH moments AS (
    -- Each moment at which the counts of stations of the zone change, and by how many.
    SELECT zone, day, at, sum(step) AS known,
        sum(step) FILTER (WHERE in_service) AS served,
        sum(step) FILTER (WHERE in_service AND NOT empty) AS with_bike,
        sum(step) FILTER (WHERE docks_known) AS with_docks_known,
        sum(step) FILTER (WHERE docks_known AND NOT full) AS with_dock
    FROM (
        SELECT *, since AS at, 1 AS step FROM {runs}
        UNION ALL
        SELECT *, until AS at, -1 AS step FROM {runs}
    )
    GROUP BY zone, day, at
),
stretches AS (
    -- How many there are from one moment to the next.
    SELECT zone, day,
        unix_seconds(lead(at) OVER in_time) - unix_seconds(at) AS seconds,
        sum(known) OVER in_time AS known,
        sum(served) OVER in_time AS served,
        coalesce(sum(with_bike) OVER in_time, 0) AS with_bike,
        sum(with_docks_known) OVER in_time AS with_docks_known,
        coalesce(sum(with_dock) OVER in_time, 0) AS with_dock
    FROM moments
    WINDOW in_time AS (PARTITION BY zone, day ORDER BY at)
),
joint AS (
    SELECT zone, day,
        coalesce(sum(seconds) FILTER (WHERE known > 0), 0) AS seconds_covered,
        coalesce(sum(seconds) FILTER (WHERE served > 0), 0) AS seconds_served,
        coalesce(sum(seconds) FILTER (WHERE served > 0 AND with_bike = 0), 0) AS seconds_no_bike,
        coalesce(sum(seconds) FILTER (WHERE with_docks_known > 0 AND with_dock = 0), 0) AS seconds_no_dock
    FROM stretches
    GROUP BY zone, day
),
counted AS (
    -- Apart from the sums: a distinct count among them makes Spark expand every spell.
    SELECT zone, day, count(*) AS stations
    FROM (SELECT DISTINCT zone, day, station_code FROM {spells})
    GROUP BY zone, day
),
sums AS (
    SELECT
        zone,
        day,
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
        sum(returns) AS returns
    FROM {spells}
    GROUP BY zone, day
)
SELECT * FROM sums JOIN counted USING (zone, day) JOIN joint USING (zone, day)
