-- The long-term statistics: rows of days and hours that add up over any range, and what is read from them.
-- A function over (from_day, to_day), both inclusive, for each result; a view of the same name over all days.
-- The functions are plain SQL in one SELECT, so that the planner sees through them: it reads only the days asked for
-- and leaves out joins whose columns nobody asks for. Comments are not here: migrate.py sets them.

CREATE TABLE station_days (
    station_code                 text NOT NULL,
    day                          date NOT NULL,
    name                         text NOT NULL,
    zone                         text NOT NULL,
    cell                         text NOT NULL,
    lat                          double precision NOT NULL,
    lon                          double precision NOT NULL,
    capacity                     integer,
    seconds                      integer NOT NULL,
    seconds_in_service           integer NOT NULL,
    seconds_empty                integer NOT NULL,
    seconds_full                 integer NOT NULL,
    seconds_docks_known          integer NOT NULL,
    seconds_split_known          integer NOT NULL,
    seconds_occupancy_known      integer NOT NULL,
    bikes_seconds                integer NOT NULL,
    mechanical_seconds           integer NOT NULL,
    ebike_seconds                integer NOT NULL,
    docks_seconds                integer NOT NULL,
    occupancy_seconds            double precision NOT NULL,
    bikes_min                    integer,
    bikes_max                    integer,
    mechanical_min               integer,
    mechanical_max               integer,
    ebike_min                    integer,
    ebike_max                    integer,
    docks_min                    integer,
    docks_max                    integer,
    seconds_low_bikes            integer NOT NULL,
    seconds_low_docks            integer NOT NULL,
    seconds_ebike_only           integer NOT NULL,
    seconds_mechanical_only      integer NOT NULL,
    capacity_seconds             integer NOT NULL,
    bikes_capacity_known_seconds integer NOT NULL,
    seconds_balance_known        integer NOT NULL,
    unusable_docks_seconds       integer NOT NULL,
    overflow_seconds             integer NOT NULL,
    rentals                      integer NOT NULL,
    returns                      integer NOT NULL,
    changes                      integer NOT NULL,
    waking_seconds               integer NOT NULL,
    waking_changes               integer NOT NULL,
    PRIMARY KEY (station_code, day)
);

CREATE INDEX station_days_by_day ON station_days (day);

CREATE TABLE station_hours (
    station_code        text NOT NULL,
    hour_start          timestamptz NOT NULL,
    day                 date NOT NULL,
    hour                integer NOT NULL,
    weekend             boolean NOT NULL,
    seconds             integer NOT NULL,
    seconds_in_service  integer NOT NULL,
    seconds_empty       integer NOT NULL,
    seconds_full        integer NOT NULL,
    seconds_docks_known integer NOT NULL,
    seconds_split_known integer NOT NULL,
    bikes_seconds       integer NOT NULL,
    mechanical_seconds  integer NOT NULL,
    ebike_seconds       integer NOT NULL,
    docks_seconds       integer NOT NULL,
    rentals             integer NOT NULL,
    returns             integer NOT NULL,
    PRIMARY KEY (station_code, hour_start)
);

CREATE INDEX station_hours_by_day ON station_hours (day);

CREATE TABLE zone_days (
    zone                         text NOT NULL,
    day                          date NOT NULL,
    stations                     integer NOT NULL,
    seconds                      bigint NOT NULL,
    seconds_in_service           bigint NOT NULL,
    seconds_empty                bigint NOT NULL,
    seconds_full                 bigint NOT NULL,
    seconds_docks_known          bigint NOT NULL,
    seconds_split_known          bigint NOT NULL,
    seconds_occupancy_known      bigint NOT NULL,
    bikes_seconds                bigint NOT NULL,
    mechanical_seconds           bigint NOT NULL,
    ebike_seconds                bigint NOT NULL,
    docks_seconds                bigint NOT NULL,
    occupancy_seconds            double precision NOT NULL,
    bikes_min                    integer,
    bikes_max                    integer,
    mechanical_min               integer,
    mechanical_max               integer,
    ebike_min                    integer,
    ebike_max                    integer,
    docks_min                    integer,
    docks_max                    integer,
    seconds_low_bikes            bigint NOT NULL,
    seconds_low_docks            bigint NOT NULL,
    seconds_ebike_only           bigint NOT NULL,
    seconds_mechanical_only      bigint NOT NULL,
    capacity_seconds             bigint NOT NULL,
    bikes_capacity_known_seconds bigint NOT NULL,
    seconds_balance_known        bigint NOT NULL,
    unusable_docks_seconds       bigint NOT NULL,
    overflow_seconds             bigint NOT NULL,
    rentals                      bigint NOT NULL,
    returns                      bigint NOT NULL,
    seconds_covered              bigint NOT NULL,
    seconds_served               bigint NOT NULL,
    seconds_no_bike              bigint NOT NULL,
    seconds_no_dock              bigint NOT NULL,
    PRIMARY KEY (zone, day)
);

CREATE INDEX zone_days_by_day ON zone_days (day);

CREATE TABLE zone_hours (
    zone                text NOT NULL,
    hour_start          timestamptz NOT NULL,
    day                 date NOT NULL,
    hour                integer NOT NULL,
    weekend             boolean NOT NULL,
    stations            integer NOT NULL,
    seconds             bigint NOT NULL,
    seconds_in_service  bigint NOT NULL,
    seconds_empty       bigint NOT NULL,
    seconds_full        bigint NOT NULL,
    seconds_docks_known bigint NOT NULL,
    seconds_split_known bigint NOT NULL,
    bikes_seconds       bigint NOT NULL,
    mechanical_seconds  bigint NOT NULL,
    ebike_seconds       bigint NOT NULL,
    docks_seconds       bigint NOT NULL,
    rentals             bigint NOT NULL,
    returns             bigint NOT NULL,
    PRIMARY KEY (zone, hour_start)
);

CREATE INDEX zone_hours_by_day ON zone_hours (day);

CREATE TABLE cell_days (
    cell                         text NOT NULL,
    day                          date NOT NULL,
    stations                     integer NOT NULL,
    seconds                      bigint NOT NULL,
    seconds_in_service           bigint NOT NULL,
    seconds_empty                bigint NOT NULL,
    seconds_full                 bigint NOT NULL,
    seconds_docks_known          bigint NOT NULL,
    seconds_split_known          bigint NOT NULL,
    seconds_occupancy_known      bigint NOT NULL,
    bikes_seconds                bigint NOT NULL,
    mechanical_seconds           bigint NOT NULL,
    ebike_seconds                bigint NOT NULL,
    docks_seconds                bigint NOT NULL,
    occupancy_seconds            double precision NOT NULL,
    bikes_min                    integer,
    bikes_max                    integer,
    mechanical_min               integer,
    mechanical_max               integer,
    ebike_min                    integer,
    ebike_max                    integer,
    docks_min                    integer,
    docks_max                    integer,
    seconds_low_bikes            bigint NOT NULL,
    seconds_low_docks            bigint NOT NULL,
    seconds_ebike_only           bigint NOT NULL,
    seconds_mechanical_only      bigint NOT NULL,
    capacity_seconds             bigint NOT NULL,
    bikes_capacity_known_seconds bigint NOT NULL,
    seconds_balance_known        bigint NOT NULL,
    unusable_docks_seconds       bigint NOT NULL,
    overflow_seconds             bigint NOT NULL,
    rentals                      bigint NOT NULL,
    returns                      bigint NOT NULL,
    seconds_covered              bigint NOT NULL,
    seconds_served               bigint NOT NULL,
    seconds_no_bike              bigint NOT NULL,
    seconds_no_dock              bigint NOT NULL,
    PRIMARY KEY (cell, day)
);

CREATE INDEX cell_days_by_day ON cell_days (day);

CREATE TABLE episodes (
    kind         text NOT NULL CHECK (kind IN ('empty', 'full', 'cluster_empty', 'cluster_full')),
    station_code text NOT NULL,
    day          date NOT NULL,
    since        timestamptz NOT NULL,
    until        timestamptz NOT NULL,
    seconds      integer NOT NULL,
    open_start   boolean NOT NULL,
    open_end     boolean NOT NULL,
    zone         text NOT NULL,
    PRIMARY KEY (kind, station_code, since)
);

CREATE INDEX episodes_by_day ON episodes (day);
-- Lengths in order, so that medians need no sort; and the few pieces that may have a neighbour to join.
CREATE INDEX closed_episodes ON episodes (kind, station_code, seconds) INCLUDE (day)
    WHERE NOT open_start AND NOT open_end;
CREATE INDEX open_episodes ON episodes (kind, station_code, since)
    INCLUDE (until, seconds, day, zone, open_start, open_end) WHERE open_start OR open_end;

CREATE TABLE computed_days (
    asset           text NOT NULL,
    day             date NOT NULL,
    day_seconds     integer NOT NULL,
    network_seconds integer NOT NULL,
    spells          bigint NOT NULL,
    archived_bytes  bigint NOT NULL,
    computed_at     timestamptz NOT NULL,
    PRIMARY KEY (asset, day)
);

CREATE INDEX computed_days_by_day ON computed_days (day);

-- The range as far as it was computed: what coverage is a share of. A day without a row lasts 86,400 s.
CREATE FUNCTION computed_span(asset_name text, from_day date, to_day date)
RETURNS TABLE (
    seconds         bigint,
    days            bigint,
    network_seconds bigint,
    empty_known     boolean,
    full_known      boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    greatest(
        86400::bigint * (least(to_day, max(c.day)) - greatest(from_day, min(c.day)) + 1)
            + coalesce(sum(c.day_seconds - 86400) FILTER (WHERE c.day BETWEEN from_day AND to_day), 0),
        0
    ),
    count(*) FILTER (WHERE c.day BETWEEN from_day AND to_day),
    coalesce(sum(c.network_seconds) FILTER (WHERE c.day BETWEEN from_day AND to_day), 0)::bigint,
    coalesce(bool_and(emptied.day IS NOT NULL) FILTER (WHERE c.day BETWEEN from_day AND to_day), false),
    coalesce(bool_and(filled.day IS NOT NULL) FILTER (WHERE c.day BETWEEN from_day AND to_day), false)
FROM computed_days AS c
-- Joins, since PostgreSQL does not run a query in parallel all through that holds EXISTS.
LEFT JOIN computed_days AS emptied ON emptied.asset = 'empty_stations' AND emptied.day = c.day
LEFT JOIN computed_days AS filled ON filled.asset = 'full_stations' AND filled.day = c.day
WHERE c.asset = asset_name;
END;

-- The pieces of one episode touch, so that until − the seconds of all pieces so far is the same for each of them; any
-- time between two pieces makes it grow. Pieces that touch are open there on both sides: an episode is as long as can be.
CREATE FUNCTION open_episodes_joined(from_day date, to_day date)
RETURNS TABLE (
    kind         text,
    station_code text,
    since        timestamptz,
    until        timestamptz,
    seconds      bigint,
    open_start   boolean,
    open_end     boolean,
    zone         text,
    first_day    date,
    last_day     date
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    pieces.kind,
    pieces.station_code,
    min(pieces.since),
    max(pieces.until),
    sum(pieces.seconds),
    bool_and(pieces.open_start),
    bool_and(pieces.open_end),
    (array_agg(pieces.zone ORDER BY pieces.since))[1],
    min(pieces.day),
    max(pieces.day)
FROM (
    SELECT
        e.*,
        e.until - make_interval(secs => sum(e.seconds) OVER (
            PARTITION BY e.kind, e.station_code ORDER BY e.since ROWS UNBOUNDED PRECEDING
        )) AS episode
    FROM episodes AS e
    WHERE e.day BETWEEN from_day AND to_day AND (e.open_start OR e.open_end)
) AS pieces
GROUP BY pieces.kind, pieces.station_code, pieces.episode;
END;

-- Only an open piece can have a neighbour to join: the rest, nearly all, is passed on as it is.
CREATE FUNCTION episodes_joined(from_day date, to_day date)
RETURNS TABLE (
    kind         text,
    station_code text,
    since        timestamptz,
    until        timestamptz,
    seconds      bigint,
    open_start   boolean,
    open_end     boolean,
    zone         text,
    first_day    date,
    last_day     date
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    e.kind, e.station_code, e.since, e.until, e.seconds::bigint, false, false, e.zone, e.day, e.day
FROM episodes AS e
WHERE e.day BETWEEN from_day AND to_day AND NOT e.open_start AND NOT e.open_end
UNION ALL
SELECT
    o.kind, o.station_code, o.since, o.until, o.seconds, o.open_start, o.open_end, o.zone, o.first_day, o.last_day
FROM open_episodes_joined(from_day, to_day) AS o;
END;

CREATE VIEW episodes_joined AS SELECT * FROM episodes_joined('-infinity', 'infinity');

-- percentile_cont over the numbers of two arrays, each in ascending order, without putting them together: a year's
-- lengths come in order from an index, and sorting millions of them again would take longer than all the rest.
CREATE FUNCTION percentile_of(most integer[], rest integer[], share double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    ordered    integer[] := coalesce(most, '{}');
    count_rest integer := coalesce(cardinality(rest), 0);
    count      integer := cardinality(ordered) + count_rest;
    place      double precision := share * (count - 1);
    low        integer;
    high       integer;
    middle     integer;
    below      double precision;
    value      double precision;
BEGIN
    IF count = 0 THEN
        RETURN NULL;
    END IF;
    FOR wanted IN floor(place)::integer .. ceil(place)::integer LOOP
        below := value;
        -- How many of the rest come before the wanted place (from 0) of all numbers in order.
        low := 0;
        high := count_rest;
        WHILE low < high LOOP
            middle := (low + high) / 2;
            IF middle + width_bucket(rest[middle + 1], ordered) < wanted THEN
                low := middle + 1;
            ELSE
                high := middle;
            END IF;
        END LOOP;
        IF low < count_rest AND low + width_bucket(rest[low + 1], ordered) = wanted THEN
            value := rest[low + 1];
        ELSE
            value := ordered[wanted - low + 1];
        END IF;
    END LOOP;
    RETURN coalesce(below + (value - below) * (place - floor(place)), value);
END;
$$;

CREATE FUNCTION station_stats(from_day date, to_day date)
RETURNS TABLE (
    station_code                  text,
    name                          text,
    zone                          text,
    bikes_mean                    double precision,
    bikes_min                     integer,
    bikes_max                     integer,
    mechanical_mean               double precision,
    mechanical_min                integer,
    mechanical_max                integer,
    ebike_mean                    double precision,
    ebike_min                     integer,
    ebike_max                     integer,
    docks_mean                    double precision,
    docks_min                     integer,
    docks_max                     integer,
    occupancy_mean                double precision,
    seconds_in_service            bigint,
    seconds_out_of_service        bigint,
    empty_share                   double precision,
    full_share                    double precision,
    low_bikes_share               double precision,
    low_docks_share               double precision,
    ebike_only_share              double precision,
    mechanical_only_share         double precision,
    unusable_docks_mean           double precision,
    overflow_mean                 double precision,
    rentals                       bigint,
    returns                       bigint,
    capacity                      integer,
    cell                          text,
    lat                           double precision,
    lon                           double precision,
    days                          bigint,
    frozen_days                   bigint,
    seconds                       bigint,
    silent_seconds                bigint,
    coverage                      double precision,
    empty_episodes                bigint,
    full_episodes                 bigint,
    empty_episode_median_seconds  double precision,
    empty_episode_p90_seconds     double precision,
    empty_episode_longest_seconds bigint,
    full_episode_median_seconds   double precision,
    full_episode_p90_seconds      double precision,
    full_episode_longest_seconds  bigint,
    balance                       bigint,
    seconds_empty                 bigint,
    seconds_full                  bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    s.station_code,
    newest.name,
    newest.zone,
    s.bikes_seconds::double precision / nullif(s.seconds_in_service, 0) AS bikes_mean,
    s.bikes_min,
    s.bikes_max,
    s.mechanical_seconds::double precision / nullif(s.seconds_split_known, 0) AS mechanical_mean,
    s.mechanical_min,
    s.mechanical_max,
    s.ebike_seconds::double precision / nullif(s.seconds_split_known, 0) AS ebike_mean,
    s.ebike_min,
    s.ebike_max,
    s.docks_seconds::double precision / nullif(s.seconds_docks_known, 0) AS docks_mean,
    s.docks_min,
    s.docks_max,
    s.occupancy_seconds / nullif(s.seconds_occupancy_known, 0) AS occupancy_mean,
    s.seconds_in_service,
    s.seconds - s.seconds_in_service AS seconds_out_of_service,
    s.seconds_empty::double precision / nullif(s.seconds_in_service, 0) AS empty_share,
    s.seconds_full::double precision / nullif(s.seconds_docks_known, 0) AS full_share,
    s.seconds_low_bikes::double precision / nullif(s.seconds_in_service, 0) AS low_bikes_share,
    s.seconds_low_docks::double precision / nullif(s.seconds_docks_known, 0) AS low_docks_share,
    s.seconds_ebike_only::double precision / nullif(s.seconds_split_known, 0) AS ebike_only_share,
    s.seconds_mechanical_only::double precision / nullif(s.seconds_split_known, 0) AS mechanical_only_share,
    s.unusable_docks_seconds::double precision / nullif(s.seconds_balance_known, 0) AS unusable_docks_mean,
    s.overflow_seconds::double precision / nullif(s.seconds_balance_known, 0) AS overflow_mean,
    s.rentals,
    s.returns,
    newest.capacity,
    newest.cell,
    newest.lat,
    newest.lon,
    s.days,
    s.frozen_days,
    s.seconds,
    s.silent_seconds,
    s.seconds::double precision / nullif(span.seconds, 0) AS coverage,
    CASE
        WHEN span.empty_known
        THEN coalesce(cardinality(times.empty_closed), 0)::bigint + coalesce(cardinality(times.empty_joined), 0)
    END AS empty_episodes,
    CASE
        WHEN span.full_known
        THEN coalesce(cardinality(times.full_closed), 0)::bigint + coalesce(cardinality(times.full_joined), 0)
    END AS full_episodes,
    CASE
        WHEN span.empty_known THEN percentile_of(times.empty_closed, times.empty_joined, 0.5)
    END AS empty_episode_median_seconds,
    CASE
        WHEN span.empty_known THEN percentile_of(times.empty_closed, times.empty_joined, 0.9)
    END AS empty_episode_p90_seconds,
    CASE
        WHEN span.empty_known
        THEN greatest(
            times.empty_closed[cardinality(times.empty_closed)], times.empty_joined[cardinality(times.empty_joined)]
        )::bigint
    END AS empty_episode_longest_seconds,
    CASE
        WHEN span.full_known THEN percentile_of(times.full_closed, times.full_joined, 0.5)
    END AS full_episode_median_seconds,
    CASE
        WHEN span.full_known THEN percentile_of(times.full_closed, times.full_joined, 0.9)
    END AS full_episode_p90_seconds,
    CASE
        WHEN span.full_known
        THEN greatest(
            times.full_closed[cardinality(times.full_closed)], times.full_joined[cardinality(times.full_joined)]
        )::bigint
    END AS full_episode_longest_seconds,
    s.returns - s.rentals AS balance,
    s.seconds_empty,
    s.seconds_full
FROM (
    SELECT
        d.station_code,
        max(d.day) AS newest_day,
        count(*) AS days,
        count(*) FILTER (WHERE d.waking_seconds >= 28800 AND d.waking_changes = 0) AS frozen_days,
        sum(coalesce(c.network_seconds, d.seconds) - d.seconds) AS silent_seconds,
        sum(d.seconds) AS seconds,
        sum(d.seconds_in_service) AS seconds_in_service,
        sum(d.seconds_empty) AS seconds_empty,
        sum(d.seconds_full) AS seconds_full,
        sum(d.seconds_docks_known) AS seconds_docks_known,
        sum(d.seconds_split_known) AS seconds_split_known,
        sum(d.seconds_occupancy_known) AS seconds_occupancy_known,
        sum(d.bikes_seconds) AS bikes_seconds,
        sum(d.mechanical_seconds) AS mechanical_seconds,
        sum(d.ebike_seconds) AS ebike_seconds,
        sum(d.docks_seconds) AS docks_seconds,
        sum(d.occupancy_seconds) AS occupancy_seconds,
        min(d.bikes_min) AS bikes_min,
        max(d.bikes_max) AS bikes_max,
        min(d.mechanical_min) AS mechanical_min,
        max(d.mechanical_max) AS mechanical_max,
        min(d.ebike_min) AS ebike_min,
        max(d.ebike_max) AS ebike_max,
        min(d.docks_min) AS docks_min,
        max(d.docks_max) AS docks_max,
        sum(d.seconds_low_bikes) AS seconds_low_bikes,
        sum(d.seconds_low_docks) AS seconds_low_docks,
        sum(d.seconds_ebike_only) AS seconds_ebike_only,
        sum(d.seconds_mechanical_only) AS seconds_mechanical_only,
        sum(d.seconds_balance_known) AS seconds_balance_known,
        sum(d.unusable_docks_seconds) AS unusable_docks_seconds,
        sum(d.overflow_seconds) AS overflow_seconds,
        sum(d.rentals) AS rentals,
        sum(d.returns) AS returns
    FROM station_days AS d
    LEFT JOIN computed_days AS c ON c.asset = 'station_stats' AND c.day = d.day
    WHERE d.day BETWEEN from_day AND to_day
    GROUP BY d.station_code
) AS s
JOIN station_days AS newest ON newest.station_code = s.station_code AND newest.day = s.newest_day
CROSS JOIN computed_span('station_stats', from_day, to_day) AS span
LEFT JOIN (
    SELECT
        e.station_code,
        any_value(e.closed) FILTER (WHERE e.kind = 'empty') AS empty_closed,
        any_value(e.joined) FILTER (WHERE e.kind = 'empty') AS empty_joined,
        any_value(e.closed) FILTER (WHERE e.kind = 'full') AS full_closed,
        any_value(e.joined) FILTER (WHERE e.kind = 'full') AS full_joined
    FROM (
        SELECT
            'empty' AS kind,
            c.station_code,
            array_agg(c.seconds ORDER BY c.seconds) AS closed,
            NULL::integer[] AS joined
        FROM episodes AS c
        WHERE c.day BETWEEN from_day AND to_day AND c.kind = 'empty' AND NOT c.open_start AND NOT c.open_end
        GROUP BY c.station_code
        UNION ALL
        SELECT 'full', c.station_code, array_agg(c.seconds ORDER BY c.seconds), NULL
        FROM episodes AS c
        WHERE c.day BETWEEN from_day AND to_day AND c.kind = 'full' AND NOT c.open_start AND NOT c.open_end
        GROUP BY c.station_code
        UNION ALL
        SELECT o.kind, o.station_code, NULL, array_agg(o.seconds::integer ORDER BY o.seconds)
        FROM open_episodes_joined(from_day, to_day) AS o
        WHERE o.kind IN ('empty', 'full')
        GROUP BY o.kind, o.station_code
    ) AS e
    GROUP BY e.station_code
) AS times ON times.station_code = s.station_code;
END;

CREATE VIEW station_stats AS SELECT * FROM station_stats('-infinity', 'infinity');

CREATE FUNCTION station_peaks(from_day date, to_day date)
RETURNS TABLE (
    station_code        text,
    empty_share_morning double precision,
    full_share_morning  double precision,
    empty_share_evening double precision,
    full_share_evening  double precision
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    h.station_code,
    sum(h.seconds_empty) FILTER (WHERE h.morning)::double precision
        / nullif(sum(h.seconds_in_service) FILTER (WHERE h.morning), 0) AS empty_share_morning,
    sum(h.seconds_full) FILTER (WHERE h.morning)::double precision
        / nullif(sum(h.seconds_docks_known) FILTER (WHERE h.morning), 0) AS full_share_morning,
    sum(h.seconds_empty) FILTER (WHERE h.evening)::double precision
        / nullif(sum(h.seconds_in_service) FILTER (WHERE h.evening), 0) AS empty_share_evening,
    sum(h.seconds_full) FILTER (WHERE h.evening)::double precision
        / nullif(sum(h.seconds_docks_known) FILTER (WHERE h.evening), 0) AS full_share_evening
FROM (
    SELECT
        *,
        NOT weekend AND hour BETWEEN 7 AND 9 AS morning,
        NOT weekend AND hour BETWEEN 16 AND 19 AS evening
    FROM station_hours
    WHERE day BETWEEN from_day AND to_day
) AS h
GROUP BY h.station_code;
END;

CREATE VIEW station_peaks AS SELECT * FROM station_peaks('-infinity', 'infinity');

CREATE FUNCTION zone_stats(from_day date, to_day date)
RETURNS TABLE (
    zone                   text,
    stations               integer,
    bikes_mean             double precision,
    bikes_min              integer,
    bikes_max              integer,
    mechanical_mean        double precision,
    mechanical_min         integer,
    mechanical_max         integer,
    ebike_mean             double precision,
    ebike_min              integer,
    ebike_max              integer,
    docks_mean             double precision,
    docks_min              integer,
    docks_max              integer,
    occupancy_mean         double precision,
    seconds_in_service     bigint,
    seconds_out_of_service bigint,
    empty_share            double precision,
    full_share             double precision,
    low_bikes_share        double precision,
    low_docks_share        double precision,
    ebike_only_share       double precision,
    mechanical_only_share  double precision,
    unusable_docks_mean    double precision,
    overflow_mean          double precision,
    rentals                bigint,
    returns                bigint,
    balance                bigint,
    zone_bikes_mean        double precision,
    zone_docks_mean        double precision,
    no_bike_share          double precision,
    no_dock_share          double precision,
    ebike_share            double precision,
    bikes_per_dock         double precision,
    bikes_per_dock_rule    double precision,
    empty_outages          bigint,
    empty_outage_hours     double precision,
    full_outages           bigint,
    full_outage_hours      double precision,
    empty_share_morning    double precision,
    full_share_morning     double precision,
    empty_share_evening    double precision,
    full_share_evening     double precision,
    days                   bigint,
    seconds                bigint,
    seconds_covered        bigint,
    seconds_served         bigint,
    coverage               double precision,
    seconds_empty          bigint,
    seconds_full           bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    s.zone,
    s.stations,
    s.bikes_seconds::double precision / nullif(s.seconds_in_service, 0) AS bikes_mean,
    s.bikes_min,
    s.bikes_max,
    s.mechanical_seconds::double precision / nullif(s.seconds_split_known, 0) AS mechanical_mean,
    s.mechanical_min,
    s.mechanical_max,
    s.ebike_seconds::double precision / nullif(s.seconds_split_known, 0) AS ebike_mean,
    s.ebike_min,
    s.ebike_max,
    s.docks_seconds::double precision / nullif(s.seconds_docks_known, 0) AS docks_mean,
    s.docks_min,
    s.docks_max,
    s.occupancy_seconds / nullif(s.seconds_occupancy_known, 0) AS occupancy_mean,
    s.seconds_in_service,
    s.seconds - s.seconds_in_service AS seconds_out_of_service,
    s.seconds_empty::double precision / nullif(s.seconds_in_service, 0) AS empty_share,
    s.seconds_full::double precision / nullif(s.seconds_docks_known, 0) AS full_share,
    s.seconds_low_bikes::double precision / nullif(s.seconds_in_service, 0) AS low_bikes_share,
    s.seconds_low_docks::double precision / nullif(s.seconds_docks_known, 0) AS low_docks_share,
    s.seconds_ebike_only::double precision / nullif(s.seconds_split_known, 0) AS ebike_only_share,
    s.seconds_mechanical_only::double precision / nullif(s.seconds_split_known, 0) AS mechanical_only_share,
    s.unusable_docks_seconds::double precision / nullif(s.seconds_balance_known, 0) AS unusable_docks_mean,
    s.overflow_seconds::double precision / nullif(s.seconds_balance_known, 0) AS overflow_mean,
    s.rentals,
    s.returns,
    s.returns - s.rentals AS balance,
    s.bikes_seconds::double precision / nullif(s.seconds_covered, 0) AS zone_bikes_mean,
    s.docks_seconds::double precision / nullif(s.seconds_covered, 0) AS zone_docks_mean,
    s.seconds_no_bike::double precision / nullif(s.seconds_served, 0) AS no_bike_share,
    s.seconds_no_dock::double precision / nullif(s.seconds_served, 0) AS no_dock_share,
    s.ebike_seconds::double precision / nullif(s.ebike_seconds + s.mechanical_seconds, 0) AS ebike_share,
    s.bikes_capacity_known_seconds::double precision / nullif(s.capacity_seconds, 0) AS bikes_per_dock,
    s.bikes_capacity_known_seconds * 2.25::double precision / nullif(s.capacity_seconds, 0) AS bikes_per_dock_rule,
    CASE WHEN span.empty_known THEN coalesce(outages.empty_outages, 0) END AS empty_outages,
    CASE WHEN span.empty_known THEN coalesce(outages.empty_hours, 0) END AS empty_outage_hours,
    CASE WHEN span.full_known THEN coalesce(outages.full_outages, 0) END AS full_outages,
    CASE WHEN span.full_known THEN coalesce(outages.full_hours, 0) END AS full_outage_hours,
    peaks.empty_share_morning,
    peaks.full_share_morning,
    peaks.empty_share_evening,
    peaks.full_share_evening,
    s.days,
    s.seconds,
    s.seconds_covered,
    s.seconds_served,
    s.seconds_covered::double precision / nullif(span.seconds, 0) AS coverage,
    s.seconds_empty,
    s.seconds_full
FROM (
    SELECT
        d.zone,
        max(d.stations) AS stations,
        count(*) AS days,
        sum(d.seconds)::bigint AS seconds,
        sum(d.seconds_in_service)::bigint AS seconds_in_service,
        sum(d.seconds_empty)::bigint AS seconds_empty,
        sum(d.seconds_full)::bigint AS seconds_full,
        sum(d.seconds_docks_known)::bigint AS seconds_docks_known,
        sum(d.seconds_split_known)::bigint AS seconds_split_known,
        sum(d.seconds_occupancy_known)::bigint AS seconds_occupancy_known,
        sum(d.bikes_seconds)::bigint AS bikes_seconds,
        sum(d.mechanical_seconds)::bigint AS mechanical_seconds,
        sum(d.ebike_seconds)::bigint AS ebike_seconds,
        sum(d.docks_seconds)::bigint AS docks_seconds,
        sum(d.occupancy_seconds) AS occupancy_seconds,
        min(d.bikes_min) AS bikes_min,
        max(d.bikes_max) AS bikes_max,
        min(d.mechanical_min) AS mechanical_min,
        max(d.mechanical_max) AS mechanical_max,
        min(d.ebike_min) AS ebike_min,
        max(d.ebike_max) AS ebike_max,
        min(d.docks_min) AS docks_min,
        max(d.docks_max) AS docks_max,
        sum(d.seconds_low_bikes)::bigint AS seconds_low_bikes,
        sum(d.seconds_low_docks)::bigint AS seconds_low_docks,
        sum(d.seconds_ebike_only)::bigint AS seconds_ebike_only,
        sum(d.seconds_mechanical_only)::bigint AS seconds_mechanical_only,
        sum(d.capacity_seconds)::bigint AS capacity_seconds,
        sum(d.bikes_capacity_known_seconds)::bigint AS bikes_capacity_known_seconds,
        sum(d.seconds_balance_known)::bigint AS seconds_balance_known,
        sum(d.unusable_docks_seconds)::bigint AS unusable_docks_seconds,
        sum(d.overflow_seconds)::bigint AS overflow_seconds,
        sum(d.rentals)::bigint AS rentals,
        sum(d.returns)::bigint AS returns,
        sum(d.seconds_covered)::bigint AS seconds_covered,
        sum(d.seconds_served)::bigint AS seconds_served,
        sum(d.seconds_no_bike)::bigint AS seconds_no_bike,
        sum(d.seconds_no_dock)::bigint AS seconds_no_dock
    FROM zone_days AS d
    WHERE d.day BETWEEN from_day AND to_day
    GROUP BY d.zone
) AS s
CROSS JOIN computed_span('zone_stats', from_day, to_day) AS span
LEFT JOIN (
    SELECT
        e.zone,
        count(*) FILTER (WHERE e.kind = 'cluster_empty') AS empty_outages,
        sum(e.seconds) FILTER (WHERE e.kind = 'cluster_empty')::double precision / 3600 AS empty_hours,
        count(*) FILTER (WHERE e.kind = 'cluster_full') AS full_outages,
        sum(e.seconds) FILTER (WHERE e.kind = 'cluster_full')::double precision / 3600 AS full_hours
    FROM episodes AS e
    WHERE e.day BETWEEN from_day AND to_day AND e.kind IN ('cluster_empty', 'cluster_full')
    GROUP BY e.zone
) AS outages ON outages.zone = s.zone
LEFT JOIN (
    SELECT
        h.zone,
        sum(h.seconds_empty) FILTER (WHERE h.morning)::double precision
            / nullif(sum(h.seconds_in_service) FILTER (WHERE h.morning), 0) AS empty_share_morning,
        sum(h.seconds_full) FILTER (WHERE h.morning)::double precision
            / nullif(sum(h.seconds_docks_known) FILTER (WHERE h.morning), 0) AS full_share_morning,
        sum(h.seconds_empty) FILTER (WHERE h.evening)::double precision
            / nullif(sum(h.seconds_in_service) FILTER (WHERE h.evening), 0) AS empty_share_evening,
        sum(h.seconds_full) FILTER (WHERE h.evening)::double precision
            / nullif(sum(h.seconds_docks_known) FILTER (WHERE h.evening), 0) AS full_share_evening
    FROM (
        SELECT
            *,
            NOT weekend AND hour BETWEEN 7 AND 9 AS morning,
            NOT weekend AND hour BETWEEN 16 AND 19 AS evening
        FROM zone_hours
        WHERE day BETWEEN from_day AND to_day
    ) AS h
    GROUP BY h.zone
) AS peaks ON peaks.zone = s.zone;
END;

CREATE VIEW zone_stats AS SELECT * FROM zone_stats('-infinity', 'infinity');

CREATE FUNCTION cell_stats(from_day date, to_day date)
RETURNS TABLE (
    cell                   text,
    stations               integer,
    bikes_mean             double precision,
    bikes_min              integer,
    bikes_max              integer,
    mechanical_mean        double precision,
    mechanical_min         integer,
    mechanical_max         integer,
    ebike_mean             double precision,
    ebike_min              integer,
    ebike_max              integer,
    docks_mean             double precision,
    docks_min              integer,
    docks_max              integer,
    occupancy_mean         double precision,
    seconds_in_service     bigint,
    seconds_out_of_service bigint,
    empty_share            double precision,
    full_share             double precision,
    low_bikes_share        double precision,
    low_docks_share        double precision,
    ebike_only_share       double precision,
    mechanical_only_share  double precision,
    unusable_docks_mean    double precision,
    overflow_mean          double precision,
    rentals                bigint,
    returns                bigint,
    balance                bigint,
    cell_bikes_mean        double precision,
    cell_docks_mean        double precision,
    no_bike_share          double precision,
    no_dock_share          double precision,
    ebike_share            double precision,
    bikes_per_dock         double precision,
    bikes_per_dock_rule    double precision,
    empty_outages          bigint,
    empty_outage_hours     double precision,
    full_outages           bigint,
    full_outage_hours      double precision,
    days                   bigint,
    seconds                bigint,
    seconds_covered        bigint,
    seconds_served         bigint,
    coverage               double precision,
    seconds_empty          bigint,
    seconds_full           bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    s.cell,
    s.stations,
    s.bikes_seconds::double precision / nullif(s.seconds_in_service, 0) AS bikes_mean,
    s.bikes_min,
    s.bikes_max,
    s.mechanical_seconds::double precision / nullif(s.seconds_split_known, 0) AS mechanical_mean,
    s.mechanical_min,
    s.mechanical_max,
    s.ebike_seconds::double precision / nullif(s.seconds_split_known, 0) AS ebike_mean,
    s.ebike_min,
    s.ebike_max,
    s.docks_seconds::double precision / nullif(s.seconds_docks_known, 0) AS docks_mean,
    s.docks_min,
    s.docks_max,
    s.occupancy_seconds / nullif(s.seconds_occupancy_known, 0) AS occupancy_mean,
    s.seconds_in_service,
    s.seconds - s.seconds_in_service AS seconds_out_of_service,
    s.seconds_empty::double precision / nullif(s.seconds_in_service, 0) AS empty_share,
    s.seconds_full::double precision / nullif(s.seconds_docks_known, 0) AS full_share,
    s.seconds_low_bikes::double precision / nullif(s.seconds_in_service, 0) AS low_bikes_share,
    s.seconds_low_docks::double precision / nullif(s.seconds_docks_known, 0) AS low_docks_share,
    s.seconds_ebike_only::double precision / nullif(s.seconds_split_known, 0) AS ebike_only_share,
    s.seconds_mechanical_only::double precision / nullif(s.seconds_split_known, 0) AS mechanical_only_share,
    s.unusable_docks_seconds::double precision / nullif(s.seconds_balance_known, 0) AS unusable_docks_mean,
    s.overflow_seconds::double precision / nullif(s.seconds_balance_known, 0) AS overflow_mean,
    s.rentals,
    s.returns,
    s.returns - s.rentals AS balance,
    s.bikes_seconds::double precision / nullif(s.seconds_covered, 0) AS cell_bikes_mean,
    s.docks_seconds::double precision / nullif(s.seconds_covered, 0) AS cell_docks_mean,
    s.seconds_no_bike::double precision / nullif(s.seconds_served, 0) AS no_bike_share,
    s.seconds_no_dock::double precision / nullif(s.seconds_served, 0) AS no_dock_share,
    s.ebike_seconds::double precision / nullif(s.ebike_seconds + s.mechanical_seconds, 0) AS ebike_share,
    s.bikes_capacity_known_seconds::double precision / nullif(s.capacity_seconds, 0) AS bikes_per_dock,
    s.bikes_capacity_known_seconds * 2.25::double precision / nullif(s.capacity_seconds, 0) AS bikes_per_dock_rule,
    CASE WHEN span.empty_known THEN coalesce(outages.empty_outages, 0) END AS empty_outages,
    CASE WHEN span.empty_known THEN coalesce(outages.empty_hours, 0) END AS empty_outage_hours,
    CASE WHEN span.full_known THEN coalesce(outages.full_outages, 0) END AS full_outages,
    CASE WHEN span.full_known THEN coalesce(outages.full_hours, 0) END AS full_outage_hours,
    s.days,
    s.seconds,
    s.seconds_covered,
    s.seconds_served,
    s.seconds_covered::double precision / nullif(span.seconds, 0) AS coverage,
    s.seconds_empty,
    s.seconds_full
FROM (
    SELECT
        d.cell,
        max(d.stations) AS stations,
        count(*) AS days,
        sum(d.seconds)::bigint AS seconds,
        sum(d.seconds_in_service)::bigint AS seconds_in_service,
        sum(d.seconds_empty)::bigint AS seconds_empty,
        sum(d.seconds_full)::bigint AS seconds_full,
        sum(d.seconds_docks_known)::bigint AS seconds_docks_known,
        sum(d.seconds_split_known)::bigint AS seconds_split_known,
        sum(d.seconds_occupancy_known)::bigint AS seconds_occupancy_known,
        sum(d.bikes_seconds)::bigint AS bikes_seconds,
        sum(d.mechanical_seconds)::bigint AS mechanical_seconds,
        sum(d.ebike_seconds)::bigint AS ebike_seconds,
        sum(d.docks_seconds)::bigint AS docks_seconds,
        sum(d.occupancy_seconds) AS occupancy_seconds,
        min(d.bikes_min) AS bikes_min,
        max(d.bikes_max) AS bikes_max,
        min(d.mechanical_min) AS mechanical_min,
        max(d.mechanical_max) AS mechanical_max,
        min(d.ebike_min) AS ebike_min,
        max(d.ebike_max) AS ebike_max,
        min(d.docks_min) AS docks_min,
        max(d.docks_max) AS docks_max,
        sum(d.seconds_low_bikes)::bigint AS seconds_low_bikes,
        sum(d.seconds_low_docks)::bigint AS seconds_low_docks,
        sum(d.seconds_ebike_only)::bigint AS seconds_ebike_only,
        sum(d.seconds_mechanical_only)::bigint AS seconds_mechanical_only,
        sum(d.capacity_seconds)::bigint AS capacity_seconds,
        sum(d.bikes_capacity_known_seconds)::bigint AS bikes_capacity_known_seconds,
        sum(d.seconds_balance_known)::bigint AS seconds_balance_known,
        sum(d.unusable_docks_seconds)::bigint AS unusable_docks_seconds,
        sum(d.overflow_seconds)::bigint AS overflow_seconds,
        sum(d.rentals)::bigint AS rentals,
        sum(d.returns)::bigint AS returns,
        sum(d.seconds_covered)::bigint AS seconds_covered,
        sum(d.seconds_served)::bigint AS seconds_served,
        sum(d.seconds_no_bike)::bigint AS seconds_no_bike,
        sum(d.seconds_no_dock)::bigint AS seconds_no_dock
    FROM cell_days AS d
    WHERE d.day BETWEEN from_day AND to_day
    GROUP BY d.cell
) AS s
CROSS JOIN computed_span('zone_stats', from_day, to_day) AS span
LEFT JOIN (
    SELECT
        d.cell,
        count(*) FILTER (WHERE e.kind = 'cluster_empty') AS empty_outages,
        sum(e.seconds) FILTER (WHERE e.kind = 'cluster_empty')::double precision / 3600 AS empty_hours,
        count(*) FILTER (WHERE e.kind = 'cluster_full') AS full_outages,
        sum(e.seconds) FILTER (WHERE e.kind = 'cluster_full')::double precision / 3600 AS full_hours
    FROM episodes AS e
    JOIN station_days AS d ON d.station_code = e.station_code AND d.day = e.day
    WHERE e.day BETWEEN from_day AND to_day AND e.kind IN ('cluster_empty', 'cluster_full')
    GROUP BY d.cell
) AS outages ON outages.cell = s.cell;
END;

CREATE VIEW cell_stats AS SELECT * FROM cell_stats('-infinity', 'infinity');

CREATE FUNCTION empty_stations(from_day date, to_day date)
RETURNS TABLE (
    station_code            text,
    name                    text,
    zone                    text,
    seconds_empty           bigint,
    empty_share             double precision,
    seconds_in_service      bigint,
    episodes                bigint,
    episode_median_seconds  double precision,
    episode_p90_seconds     double precision,
    episode_longest_seconds bigint,
    by_hour                 double precision[],
    empty_share_morning     double precision,
    empty_share_evening     double precision,
    frozen_days             bigint,
    coverage                double precision
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    s.station_code,
    s.name,
    s.zone,
    s.seconds_empty,
    s.empty_share,
    s.seconds_in_service,
    s.empty_episodes AS episodes,
    s.empty_episode_median_seconds AS episode_median_seconds,
    s.empty_episode_p90_seconds AS episode_p90_seconds,
    s.empty_episode_longest_seconds AS episode_longest_seconds,
    (
        SELECT array_agg(given.share ORDER BY clock.hour)
        FROM generate_series(0, 23) AS clock (hour)
        LEFT JOIN unnest(hours.hours, hours.shares) AS given (hour, share) ON given.hour = clock.hour
    ) AS by_hour,
    hours.empty_share_morning,
    hours.empty_share_evening,
    s.frozen_days,
    s.coverage
FROM station_stats(from_day, to_day) AS s
LEFT JOIN (
    SELECT
        h.station_code,
        array_agg(h.hour) AS hours,
        array_agg(h.share) AS shares,
        sum(h.empty_morning)::double precision / nullif(sum(h.known_morning), 0) AS empty_share_morning,
        sum(h.empty_evening)::double precision / nullif(sum(h.known_evening), 0) AS empty_share_evening
    FROM (
        SELECT
            h.station_code,
            h.hour,
            sum(h.seconds_empty)::double precision / nullif(sum(h.seconds_in_service), 0) AS share,
            sum(h.seconds_empty) FILTER (WHERE h.morning) AS empty_morning,
            sum(h.seconds_in_service) FILTER (WHERE h.morning) AS known_morning,
            sum(h.seconds_empty) FILTER (WHERE h.evening) AS empty_evening,
            sum(h.seconds_in_service) FILTER (WHERE h.evening) AS known_evening
        FROM (
            SELECT
                *,
                NOT weekend AND hour BETWEEN 7 AND 9 AS morning,
                NOT weekend AND hour BETWEEN 16 AND 19 AS evening
            FROM station_hours
            WHERE day BETWEEN from_day AND to_day
        ) AS h
        GROUP BY h.station_code, h.hour
    ) AS h
    GROUP BY h.station_code
) AS hours ON hours.station_code = s.station_code
WHERE s.seconds_empty > 0
ORDER BY s.seconds_empty DESC, s.station_code;
END;

CREATE VIEW empty_stations AS SELECT * FROM empty_stations('-infinity', 'infinity');

CREATE FUNCTION full_stations(from_day date, to_day date)
RETURNS TABLE (
    station_code            text,
    name                    text,
    zone                    text,
    seconds_full            bigint,
    full_share              double precision,
    seconds_in_service      bigint,
    episodes                bigint,
    episode_median_seconds  double precision,
    episode_p90_seconds     double precision,
    episode_longest_seconds bigint,
    by_hour                 double precision[],
    full_share_morning      double precision,
    full_share_evening      double precision,
    frozen_days             bigint,
    coverage                double precision
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    s.station_code,
    s.name,
    s.zone,
    s.seconds_full,
    s.full_share,
    s.seconds_in_service,
    s.full_episodes AS episodes,
    s.full_episode_median_seconds AS episode_median_seconds,
    s.full_episode_p90_seconds AS episode_p90_seconds,
    s.full_episode_longest_seconds AS episode_longest_seconds,
    (
        SELECT array_agg(given.share ORDER BY clock.hour)
        FROM generate_series(0, 23) AS clock (hour)
        LEFT JOIN unnest(hours.hours, hours.shares) AS given (hour, share) ON given.hour = clock.hour
    ) AS by_hour,
    hours.full_share_morning,
    hours.full_share_evening,
    s.frozen_days,
    s.coverage
FROM station_stats(from_day, to_day) AS s
LEFT JOIN (
    SELECT
        h.station_code,
        array_agg(h.hour) AS hours,
        array_agg(h.share) AS shares,
        sum(h.full_morning)::double precision / nullif(sum(h.known_morning), 0) AS full_share_morning,
        sum(h.full_evening)::double precision / nullif(sum(h.known_evening), 0) AS full_share_evening
    FROM (
        SELECT
            h.station_code,
            h.hour,
            sum(h.seconds_full)::double precision / nullif(sum(h.seconds_docks_known), 0) AS share,
            sum(h.seconds_full) FILTER (WHERE h.morning) AS full_morning,
            sum(h.seconds_docks_known) FILTER (WHERE h.morning) AS known_morning,
            sum(h.seconds_full) FILTER (WHERE h.evening) AS full_evening,
            sum(h.seconds_docks_known) FILTER (WHERE h.evening) AS known_evening
        FROM (
            SELECT
                *,
                NOT weekend AND hour BETWEEN 7 AND 9 AS morning,
                NOT weekend AND hour BETWEEN 16 AND 19 AS evening
            FROM station_hours
            WHERE day BETWEEN from_day AND to_day
        ) AS h
        GROUP BY h.station_code, h.hour
    ) AS h
    GROUP BY h.station_code
) AS hours ON hours.station_code = s.station_code
WHERE s.seconds_full > 0
ORDER BY s.seconds_full DESC, s.station_code;
END;

CREATE VIEW full_stations AS SELECT * FROM full_stations('-infinity', 'infinity');

CREATE FUNCTION station_profile(from_day date, to_day date)
RETURNS TABLE (
    station_code       text,
    hour               integer,
    weekend            boolean,
    days               bigint,
    bikes_mean         double precision,
    mechanical_mean    double precision,
    ebike_mean         double precision,
    docks_mean         double precision,
    empty_share        double precision,
    full_share         double precision,
    rentals            bigint,
    returns            bigint,
    seconds            bigint,
    seconds_in_service bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    h.station_code,
    h.hour,
    h.weekend,
    count(DISTINCT h.day) AS days,
    sum(h.bikes_seconds)::double precision / nullif(sum(h.seconds_in_service), 0) AS bikes_mean,
    sum(h.mechanical_seconds)::double precision / nullif(sum(h.seconds_split_known), 0) AS mechanical_mean,
    sum(h.ebike_seconds)::double precision / nullif(sum(h.seconds_split_known), 0) AS ebike_mean,
    sum(h.docks_seconds)::double precision / nullif(sum(h.seconds_docks_known), 0) AS docks_mean,
    sum(h.seconds_empty)::double precision / nullif(sum(h.seconds_in_service), 0) AS empty_share,
    sum(h.seconds_full)::double precision / nullif(sum(h.seconds_docks_known), 0) AS full_share,
    sum(h.rentals) AS rentals,
    sum(h.returns) AS returns,
    sum(h.seconds) AS seconds,
    sum(h.seconds_in_service) AS seconds_in_service
FROM station_hours AS h
WHERE h.day BETWEEN from_day AND to_day
GROUP BY h.station_code, h.hour, h.weekend;
END;

CREATE VIEW station_profile AS SELECT * FROM station_profile('-infinity', 'infinity');

CREATE FUNCTION zone_profile(from_day date, to_day date)
RETURNS TABLE (
    zone               text,
    hour               integer,
    weekend            boolean,
    days               bigint,
    bikes_mean         double precision,
    mechanical_mean    double precision,
    ebike_mean         double precision,
    docks_mean         double precision,
    empty_share        double precision,
    full_share         double precision,
    rentals            bigint,
    returns            bigint,
    seconds            bigint,
    seconds_in_service bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    h.zone,
    h.hour,
    h.weekend,
    count(DISTINCT h.day) AS days,
    sum(h.bikes_seconds)::double precision / nullif(sum(h.seconds_in_service), 0) AS bikes_mean,
    sum(h.mechanical_seconds)::double precision / nullif(sum(h.seconds_split_known), 0) AS mechanical_mean,
    sum(h.ebike_seconds)::double precision / nullif(sum(h.seconds_split_known), 0) AS ebike_mean,
    sum(h.docks_seconds)::double precision / nullif(sum(h.seconds_docks_known), 0) AS docks_mean,
    sum(h.seconds_empty)::double precision / nullif(sum(h.seconds_in_service), 0) AS empty_share,
    sum(h.seconds_full)::double precision / nullif(sum(h.seconds_docks_known), 0) AS full_share,
    sum(h.rentals)::bigint AS rentals,
    sum(h.returns)::bigint AS returns,
    sum(h.seconds)::bigint AS seconds,
    sum(h.seconds_in_service)::bigint AS seconds_in_service
FROM zone_hours AS h
WHERE h.day BETWEEN from_day AND to_day
GROUP BY h.zone, h.hour, h.weekend;
END;

CREATE VIEW zone_profile AS SELECT * FROM zone_profile('-infinity', 'infinity');

CREATE FUNCTION network_hours(from_day date, to_day date)
RETURNS TABLE (
    hour               integer,
    weekend            boolean,
    days               bigint,
    bikes_mean         double precision,
    mechanical_mean    double precision,
    ebike_mean         double precision,
    docks_mean         double precision,
    empty_share        double precision,
    full_share         double precision,
    rentals            bigint,
    returns            bigint,
    seconds            bigint,
    seconds_in_service bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    h.hour,
    h.weekend,
    count(DISTINCT h.day) AS days,
    sum(h.bikes_seconds)::double precision / nullif(sum(h.seconds_in_service), 0) AS bikes_mean,
    sum(h.mechanical_seconds)::double precision / nullif(sum(h.seconds_split_known), 0) AS mechanical_mean,
    sum(h.ebike_seconds)::double precision / nullif(sum(h.seconds_split_known), 0) AS ebike_mean,
    sum(h.docks_seconds)::double precision / nullif(sum(h.seconds_docks_known), 0) AS docks_mean,
    sum(h.seconds_empty)::double precision / nullif(sum(h.seconds_in_service), 0) AS empty_share,
    sum(h.seconds_full)::double precision / nullif(sum(h.seconds_docks_known), 0) AS full_share,
    sum(h.rentals)::bigint AS rentals,
    sum(h.returns)::bigint AS returns,
    sum(h.seconds)::bigint AS seconds,
    sum(h.seconds_in_service)::bigint AS seconds_in_service
FROM zone_hours AS h
WHERE h.day BETWEEN from_day AND to_day
GROUP BY h.hour, h.weekend;
END;

CREATE VIEW network_hours AS SELECT * FROM network_hours('-infinity', 'infinity');

-- Gini coefficient of n zones, their values x in ascending order: sum((2 i - n - 1) x_i) / (n sum(x_i)).
CREATE FUNCTION network_stats(from_day date, to_day date)
RETURNS TABLE (
    zones                  bigint,
    stations               bigint,
    bikes_mean             double precision,
    bikes_min              integer,
    bikes_max              integer,
    mechanical_mean        double precision,
    mechanical_min         integer,
    mechanical_max         integer,
    ebike_mean             double precision,
    ebike_min              integer,
    ebike_max              integer,
    docks_mean             double precision,
    docks_min              integer,
    docks_max              integer,
    occupancy_mean         double precision,
    seconds_in_service     bigint,
    seconds_out_of_service bigint,
    empty_share            double precision,
    full_share             double precision,
    low_bikes_share        double precision,
    low_docks_share        double precision,
    ebike_only_share       double precision,
    mechanical_only_share  double precision,
    unusable_docks_mean    double precision,
    overflow_mean          double precision,
    rentals                bigint,
    returns                bigint,
    balance                bigint,
    network_bikes_mean     double precision,
    network_docks_mean     double precision,
    ebike_share            double precision,
    bikes_per_dock         double precision,
    bikes_per_dock_rule    double precision,
    empty_outages          bigint,
    empty_outage_hours     double precision,
    full_outages           bigint,
    full_outage_hours      double precision,
    bikes_per_dock_gini    double precision,
    empty_share_gini       double precision,
    days                   bigint,
    seconds                bigint,
    network_seconds        bigint,
    coverage               double precision,
    seconds_empty          bigint,
    seconds_full           bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    z.zones,
    s.stations,
    s.bikes_seconds::double precision / nullif(s.seconds_in_service, 0) AS bikes_mean,
    s.bikes_min,
    s.bikes_max,
    s.mechanical_seconds::double precision / nullif(s.seconds_split_known, 0) AS mechanical_mean,
    s.mechanical_min,
    s.mechanical_max,
    s.ebike_seconds::double precision / nullif(s.seconds_split_known, 0) AS ebike_mean,
    s.ebike_min,
    s.ebike_max,
    s.docks_seconds::double precision / nullif(s.seconds_docks_known, 0) AS docks_mean,
    s.docks_min,
    s.docks_max,
    s.occupancy_seconds / nullif(s.seconds_occupancy_known, 0) AS occupancy_mean,
    s.seconds_in_service,
    s.seconds - s.seconds_in_service AS seconds_out_of_service,
    s.seconds_empty::double precision / nullif(s.seconds_in_service, 0) AS empty_share,
    s.seconds_full::double precision / nullif(s.seconds_docks_known, 0) AS full_share,
    s.seconds_low_bikes::double precision / nullif(s.seconds_in_service, 0) AS low_bikes_share,
    s.seconds_low_docks::double precision / nullif(s.seconds_docks_known, 0) AS low_docks_share,
    s.seconds_ebike_only::double precision / nullif(s.seconds_split_known, 0) AS ebike_only_share,
    s.seconds_mechanical_only::double precision / nullif(s.seconds_split_known, 0) AS mechanical_only_share,
    s.unusable_docks_seconds::double precision / nullif(s.seconds_balance_known, 0) AS unusable_docks_mean,
    s.overflow_seconds::double precision / nullif(s.seconds_balance_known, 0) AS overflow_mean,
    s.rentals,
    s.returns,
    s.returns - s.rentals AS balance,
    s.bikes_seconds::double precision / nullif(span.network_seconds, 0) AS network_bikes_mean,
    s.docks_seconds::double precision / nullif(span.network_seconds, 0) AS network_docks_mean,
    s.ebike_seconds::double precision / nullif(s.ebike_seconds + s.mechanical_seconds, 0) AS ebike_share,
    s.bikes_capacity_known_seconds::double precision / nullif(s.capacity_seconds, 0) AS bikes_per_dock,
    s.bikes_capacity_known_seconds * 2.25::double precision / nullif(s.capacity_seconds, 0) AS bikes_per_dock_rule,
    CASE WHEN span.empty_known THEN z.empty_outages END AS empty_outages,
    CASE WHEN span.empty_known THEN z.empty_outage_hours END AS empty_outage_hours,
    CASE WHEN span.full_known THEN z.full_outages END AS full_outages,
    CASE WHEN span.full_known THEN z.full_outage_hours END AS full_outage_hours,
    z.bikes_per_dock_gini,
    z.empty_share_gini,
    span.days,
    s.seconds,
    span.network_seconds,
    span.network_seconds::double precision / nullif(span.seconds, 0) AS coverage,
    s.seconds_empty,
    s.seconds_full
FROM (
    SELECT
        count(*) AS days,
        max(d.stations) AS stations,
        sum(d.seconds)::bigint AS seconds,
        sum(d.seconds_in_service)::bigint AS seconds_in_service,
        sum(d.seconds_empty)::bigint AS seconds_empty,
        sum(d.seconds_full)::bigint AS seconds_full,
        sum(d.seconds_docks_known)::bigint AS seconds_docks_known,
        sum(d.seconds_split_known)::bigint AS seconds_split_known,
        sum(d.seconds_occupancy_known)::bigint AS seconds_occupancy_known,
        sum(d.bikes_seconds)::bigint AS bikes_seconds,
        sum(d.mechanical_seconds)::bigint AS mechanical_seconds,
        sum(d.ebike_seconds)::bigint AS ebike_seconds,
        sum(d.docks_seconds)::bigint AS docks_seconds,
        sum(d.occupancy_seconds) AS occupancy_seconds,
        min(d.bikes_min) AS bikes_min,
        max(d.bikes_max) AS bikes_max,
        min(d.mechanical_min) AS mechanical_min,
        max(d.mechanical_max) AS mechanical_max,
        min(d.ebike_min) AS ebike_min,
        max(d.ebike_max) AS ebike_max,
        min(d.docks_min) AS docks_min,
        max(d.docks_max) AS docks_max,
        sum(d.seconds_low_bikes)::bigint AS seconds_low_bikes,
        sum(d.seconds_low_docks)::bigint AS seconds_low_docks,
        sum(d.seconds_ebike_only)::bigint AS seconds_ebike_only,
        sum(d.seconds_mechanical_only)::bigint AS seconds_mechanical_only,
        sum(d.capacity_seconds)::bigint AS capacity_seconds,
        sum(d.bikes_capacity_known_seconds)::bigint AS bikes_capacity_known_seconds,
        sum(d.seconds_balance_known)::bigint AS seconds_balance_known,
        sum(d.unusable_docks_seconds)::bigint AS unusable_docks_seconds,
        sum(d.overflow_seconds)::bigint AS overflow_seconds,
        sum(d.rentals)::bigint AS rentals,
        sum(d.returns)::bigint AS returns
    FROM (
        SELECT
            d.day,
            sum(d.stations)::bigint AS stations,
            sum(d.seconds)::bigint AS seconds,
            sum(d.seconds_in_service)::bigint AS seconds_in_service,
            sum(d.seconds_empty)::bigint AS seconds_empty,
            sum(d.seconds_full)::bigint AS seconds_full,
            sum(d.seconds_docks_known)::bigint AS seconds_docks_known,
            sum(d.seconds_split_known)::bigint AS seconds_split_known,
            sum(d.seconds_occupancy_known)::bigint AS seconds_occupancy_known,
            sum(d.bikes_seconds)::bigint AS bikes_seconds,
            sum(d.mechanical_seconds)::bigint AS mechanical_seconds,
            sum(d.ebike_seconds)::bigint AS ebike_seconds,
            sum(d.docks_seconds)::bigint AS docks_seconds,
            sum(d.occupancy_seconds) AS occupancy_seconds,
            min(d.bikes_min) AS bikes_min,
            max(d.bikes_max) AS bikes_max,
            min(d.mechanical_min) AS mechanical_min,
            max(d.mechanical_max) AS mechanical_max,
            min(d.ebike_min) AS ebike_min,
            max(d.ebike_max) AS ebike_max,
            min(d.docks_min) AS docks_min,
            max(d.docks_max) AS docks_max,
            sum(d.seconds_low_bikes)::bigint AS seconds_low_bikes,
            sum(d.seconds_low_docks)::bigint AS seconds_low_docks,
            sum(d.seconds_ebike_only)::bigint AS seconds_ebike_only,
            sum(d.seconds_mechanical_only)::bigint AS seconds_mechanical_only,
            sum(d.capacity_seconds)::bigint AS capacity_seconds,
            sum(d.bikes_capacity_known_seconds)::bigint AS bikes_capacity_known_seconds,
            sum(d.seconds_balance_known)::bigint AS seconds_balance_known,
            sum(d.unusable_docks_seconds)::bigint AS unusable_docks_seconds,
            sum(d.overflow_seconds)::bigint AS overflow_seconds,
            sum(d.rentals)::bigint AS rentals,
            sum(d.returns)::bigint AS returns
        FROM zone_days AS d
        WHERE d.day BETWEEN from_day AND to_day
        GROUP BY d.day
    ) AS d
    HAVING count(*) > 0
) AS s
CROSS JOIN computed_span('zone_stats', from_day, to_day) AS span
CROSS JOIN (
    SELECT
        count(*) AS zones,
        sum(ranked.empty_outages)::bigint AS empty_outages,
        sum(ranked.empty_outage_hours) AS empty_outage_hours,
        sum(ranked.full_outages)::bigint AS full_outages,
        sum(ranked.full_outage_hours) AS full_outage_hours,
        sum((2 * ranked.bikes_per_dock_rank - ranked.bikes_per_dock_known - 1) * ranked.bikes_per_dock)
            / nullif(max(ranked.bikes_per_dock_known) * sum(ranked.bikes_per_dock), 0) AS bikes_per_dock_gini,
        sum((2 * ranked.empty_share_rank - ranked.empty_share_known - 1) * ranked.empty_share)
            / nullif(max(ranked.empty_share_known) * sum(ranked.empty_share), 0) AS empty_share_gini
    FROM (
        SELECT
            z.*,
            row_number() OVER (ORDER BY z.bikes_per_dock) AS bikes_per_dock_rank,
            count(z.bikes_per_dock) OVER () AS bikes_per_dock_known,
            row_number() OVER (ORDER BY z.empty_share) AS empty_share_rank,
            count(z.empty_share) OVER () AS empty_share_known
        FROM zone_stats(from_day, to_day) AS z
    ) AS ranked
) AS z;
END;

CREATE VIEW network_stats AS SELECT * FROM network_stats('-infinity', 'infinity');

