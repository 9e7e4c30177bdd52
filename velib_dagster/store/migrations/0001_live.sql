-- What the streaming job writes: states, windows, polls, its own progress; and the views that readers use.
-- Comments are not here: migrate.py sets them from columns.py.

CREATE TABLE station_states (
    station_code  text NOT NULL,
    name          text NOT NULL,
    zone          text NOT NULL,
    cell          text NOT NULL,
    lat           double precision NOT NULL,
    lon           double precision NOT NULL,
    capacity      integer,
    since         timestamptz NOT NULL,
    bikes         integer NOT NULL,
    mechanical    integer,
    ebike         integer,
    docks         integer,
    is_installed  boolean NOT NULL,
    is_renting    boolean NOT NULL,
    is_returning  boolean NOT NULL,
    last_reported timestamptz,
    PRIMARY KEY (station_code, since)
);

CREATE TABLE windows (
    grain                   text NOT NULL CHECK (grain IN ('station', 'zone', 'cell')),
    key                     text NOT NULL,
    window_start            timestamptz NOT NULL,
    window_end              timestamptz NOT NULL,
    name                    text,
    zone                    text,
    cell                    text,
    seconds                 bigint NOT NULL,
    seconds_in_service      bigint NOT NULL,
    seconds_empty           bigint NOT NULL,
    seconds_full            bigint NOT NULL,
    seconds_docks_known     bigint NOT NULL,
    seconds_split_known     bigint NOT NULL,
    seconds_occupancy_known bigint NOT NULL,
    bikes_seconds           bigint NOT NULL,
    mechanical_seconds      bigint NOT NULL,
    ebike_seconds           bigint NOT NULL,
    docks_seconds           bigint NOT NULL,
    occupancy_seconds       double precision NOT NULL,
    bikes_min               integer,
    bikes_max               integer,
    mechanical_min          integer,
    mechanical_max          integer,
    ebike_min               integer,
    ebike_max               integer,
    docks_min               integer,
    docks_max               integer,
    stations                integer NOT NULL,
    PRIMARY KEY (grain, key, window_start)
);
CREATE INDEX windows_by_time ON windows (grain, window_start);

CREATE TABLE polls (
    snapshot             text PRIMARY KEY,
    time                 timestamptz NOT NULL,
    kind                 text NOT NULL,
    reason               text NOT NULL,
    rows                 integer NOT NULL,
    total_count          integer,
    reports              integer NOT NULL,
    refused              jsonb NOT NULL,
    repaired             integer NOT NULL,
    changed              integer NOT NULL,
    unchanged            integer NOT NULL,
    stale                integer NOT NULL,
    spells               integer NOT NULL,
    totals               jsonb,
    clock_offset_seconds integer,
    last_usable          jsonb,
    last_cut             timestamptz,
    absent               jsonb NOT NULL
);
CREATE INDEX polls_by_time ON polls (time);
CREATE INDEX usable_polls_by_time ON polls (time) WHERE kind IN ('usable', 'repaired');

CREATE TABLE stream_progress (
    query           text PRIMARY KEY,
    batch_id        bigint NOT NULL,
    input_rows      bigint NOT NULL,
    rows_per_second double precision NOT NULL,
    position        jsonb NOT NULL,
    watermark       timestamptz,
    batch_seconds   double precision NOT NULL,
    updated_at      timestamptz NOT NULL
);

CREATE VIEW station_now AS
SELECT DISTINCT ON (station_code) *
FROM station_states
ORDER BY station_code, since DESC;

-- One row for each hour, on every 10-minute mark, of which at least one window has a row. Conditions on key and
-- window_start reach the index of windows: the hours come from a series, and both are grouped by.
CREATE VIEW window_hours AS
SELECT
    w.grain,
    w.key,
    h.hour_start AS window_start,
    h.hour_start + interval '1 hour' AS window_end,
    (array_agg(w.name ORDER BY w.window_start DESC))[1] AS name,
    (array_agg(w.zone ORDER BY w.window_start DESC))[1] AS zone,
    (array_agg(w.cell ORDER BY w.window_start DESC))[1] AS cell,
    sum(w.seconds)::bigint AS seconds,
    sum(w.seconds_in_service)::bigint AS seconds_in_service,
    sum(w.seconds_empty)::bigint AS seconds_empty,
    sum(w.seconds_full)::bigint AS seconds_full,
    sum(w.seconds_docks_known)::bigint AS seconds_docks_known,
    sum(w.seconds_split_known)::bigint AS seconds_split_known,
    sum(w.seconds_occupancy_known)::bigint AS seconds_occupancy_known,
    sum(w.bikes_seconds)::bigint AS bikes_seconds,
    sum(w.mechanical_seconds)::bigint AS mechanical_seconds,
    sum(w.ebike_seconds)::bigint AS ebike_seconds,
    sum(w.docks_seconds)::bigint AS docks_seconds,
    sum(w.occupancy_seconds) AS occupancy_seconds,
    min(w.bikes_min) AS bikes_min,
    max(w.bikes_max) AS bikes_max,
    min(w.mechanical_min) AS mechanical_min,
    max(w.mechanical_max) AS mechanical_max,
    min(w.ebike_min) AS ebike_min,
    max(w.ebike_max) AS ebike_max,
    min(w.docks_min) AS docks_min,
    max(w.docks_max) AS docks_max,
    max(w.stations) AS stations,
    count(*)::integer AS windows
FROM generate_series(
    (SELECT min(window_start) FROM windows) - interval '50 minutes',
    (SELECT max(window_start) FROM windows),
    interval '10 minutes'
) AS h (hour_start)
JOIN windows AS w
    ON w.window_start >= h.hour_start AND w.window_start < h.hour_start + interval '1 hour'
GROUP BY w.grain, w.key, h.hour_start;

CREATE VIEW window_means AS
SELECT
    grain, key, window_start, window_end, name, zone, cell,
    coalesce(
        window_end <= (SELECT max(time) FROM polls WHERE kind IN ('usable', 'repaired')), false
    ) AS complete,
    seconds,
    seconds_in_service,
    bikes_seconds::double precision / nullif(seconds_in_service, 0) AS bikes_mean,
    mechanical_seconds::double precision / nullif(seconds_split_known, 0) AS mechanical_mean,
    ebike_seconds::double precision / nullif(seconds_split_known, 0) AS ebike_mean,
    docks_seconds::double precision / nullif(seconds_docks_known, 0) AS docks_mean,
    occupancy_seconds / nullif(seconds_occupancy_known, 0) AS occupancy_mean,
    seconds_empty::double precision / nullif(seconds_in_service, 0) AS empty_share,
    seconds_full::double precision / nullif(seconds_docks_known, 0) AS full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max,
    stations
FROM windows;

CREATE VIEW hour_means AS
SELECT
    grain, key, window_start, window_end, name, zone, cell,
    coalesce(
        window_end <= (SELECT max(time) FROM polls WHERE kind IN ('usable', 'repaired')), false
    ) AS complete,
    seconds,
    seconds_in_service,
    bikes_seconds::double precision / nullif(seconds_in_service, 0) AS bikes_mean,
    mechanical_seconds::double precision / nullif(seconds_split_known, 0) AS mechanical_mean,
    ebike_seconds::double precision / nullif(seconds_split_known, 0) AS ebike_mean,
    docks_seconds::double precision / nullif(seconds_docks_known, 0) AS docks_mean,
    occupancy_seconds / nullif(seconds_occupancy_known, 0) AS occupancy_mean,
    seconds_empty::double precision / nullif(seconds_in_service, 0) AS empty_share,
    seconds_full::double precision / nullif(seconds_docks_known, 0) AS full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max,
    stations,
    windows
FROM window_hours;

CREATE VIEW station_windows AS
SELECT
    key AS station_code, name, zone, cell, window_start, window_end, complete, seconds, seconds_in_service,
    bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max
FROM window_means
WHERE grain = 'station';

CREATE VIEW zone_windows AS
SELECT
    key AS zone, window_start, window_end, complete, seconds, seconds_in_service,
    bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max, stations
FROM window_means
WHERE grain = 'zone';

CREATE VIEW cell_windows AS
SELECT
    key AS cell, window_start, window_end, complete, seconds, seconds_in_service,
    bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max, stations
FROM window_means
WHERE grain = 'cell';

CREATE VIEW station_hours_sliding AS
SELECT
    key AS station_code, name, zone, cell, window_start, window_end, complete, seconds, seconds_in_service,
    bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max, windows
FROM hour_means
WHERE grain = 'station';

CREATE VIEW zone_hours_sliding AS
SELECT
    key AS zone, window_start, window_end, complete, seconds, seconds_in_service,
    bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max, stations,
    windows
FROM hour_means
WHERE grain = 'zone';

CREATE VIEW cell_hours_sliding AS
SELECT
    key AS cell, window_start, window_end, complete, seconds, seconds_in_service,
    bikes_mean, mechanical_mean, ebike_mean, docks_mean, occupancy_mean, empty_share, full_share,
    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max, stations,
    windows
FROM hour_means
WHERE grain = 'cell';
