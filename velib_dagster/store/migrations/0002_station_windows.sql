-- Windows are kept for stations alone: sums add, so that zones and cells are views over them. A station that was
-- renamed or moved within a window has a row for each name and place.
DROP VIEW station_hours_sliding, zone_hours_sliding, cell_hours_sliding;
DROP VIEW station_windows, zone_windows, cell_windows;
DROP VIEW hour_means, window_means, window_hours;

DELETE FROM windows WHERE grain <> 'station';
DROP INDEX windows_by_time;
ALTER TABLE windows DROP CONSTRAINT windows_pkey;
ALTER TABLE windows DROP COLUMN grain;
ALTER TABLE windows DROP COLUMN stations;
ALTER TABLE windows RENAME COLUMN key TO station_code;
ALTER TABLE windows ALTER COLUMN name SET NOT NULL;
ALTER TABLE windows ALTER COLUMN zone SET NOT NULL;
ALTER TABLE windows ALTER COLUMN cell SET NOT NULL;
ALTER TABLE windows ADD COLUMN newest_since timestamptz;
UPDATE windows SET newest_since = window_start;
ALTER TABLE windows ALTER COLUMN newest_since SET NOT NULL;
ALTER TABLE windows ADD PRIMARY KEY (station_code, window_start, name, zone, cell);
CREATE INDEX windows_by_time ON windows (window_start);

-- The six views differ in what they group by and in the length of time, so one text makes them. The hours come from a
-- series, so that a condition on window_start reaches the index of windows.
DO $make$
DECLARE
    of record;
    span record;
BEGIN
    FOR of IN
        SELECT *
        FROM (VALUES
            ('station', 'station_code', 'station_code, name, zone, cell',
             'station_code,
              (array_agg(name ORDER BY newest_since DESC))[1] AS name,
              (array_agg(zone ORDER BY newest_since DESC))[1] AS zone,
              (array_agg(cell ORDER BY newest_since DESC))[1] AS cell',
             '', ''),
            ('zone', 'zone', 'zone', 'zone', 'count(DISTINCT station_code)::integer AS stations,', ', stations'),
            ('cell', 'cell', 'cell', 'cell', 'count(DISTINCT station_code)::integer AS stations,', ', stations')
        ) AS v (grain, grouped_by, keys, found_keys, counted, count)
    LOOP
        FOR span IN
            SELECT *
            FROM (VALUES
                ('windows', 'window_start', 'window_end', 'windows', '', ''),
                ('hours_sliding', 'hour_start', 'hour_start + interval ''1 hour''',
                 'generate_series(
                      (SELECT min(window_start) FROM windows) - interval ''50 minutes'',
                      (SELECT max(window_start) FROM windows),
                      interval ''10 minutes''
                  ) AS hours (hour_start)
                  JOIN windows ON window_start >= hour_start AND window_start < hour_start + interval ''1 hour''',
                 'count(DISTINCT window_start)::integer AS windows,', ', windows')
            ) AS v (suffix, starts, ends, source, counted, count)
        LOOP
            EXECUTE format(
                $view$
                CREATE VIEW %I AS
                SELECT
                    %s, window_start, window_end,
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
                    bikes_min, bikes_max, mechanical_min, mechanical_max, ebike_min, ebike_max, docks_min, docks_max
                    %s
                FROM (
                    SELECT
                        %s, %s AS window_start, %s AS window_end, %s
                        sum(seconds)::bigint AS seconds,
                        sum(seconds_in_service)::bigint AS seconds_in_service,
                        sum(seconds_empty)::bigint AS seconds_empty,
                        sum(seconds_full)::bigint AS seconds_full,
                        sum(seconds_docks_known)::bigint AS seconds_docks_known,
                        sum(seconds_split_known)::bigint AS seconds_split_known,
                        sum(seconds_occupancy_known)::bigint AS seconds_occupancy_known,
                        sum(bikes_seconds)::bigint AS bikes_seconds,
                        sum(mechanical_seconds)::bigint AS mechanical_seconds,
                        sum(ebike_seconds)::bigint AS ebike_seconds,
                        sum(docks_seconds)::bigint AS docks_seconds,
                        sum(occupancy_seconds) AS occupancy_seconds,
                        min(bikes_min) AS bikes_min, max(bikes_max) AS bikes_max,
                        min(mechanical_min) AS mechanical_min, max(mechanical_max) AS mechanical_max,
                        min(ebike_min) AS ebike_min, max(ebike_max) AS ebike_max,
                        min(docks_min) AS docks_min, max(docks_max) AS docks_max
                    FROM %s
                    GROUP BY %I, %I%s
                ) AS sums
                $view$,
                of.grain || '_' || span.suffix, of.keys, of.count || span.count,
                of.found_keys, span.starts, span.ends, of.counted || span.counted, span.source,
                of.grouped_by, span.starts, CASE span.suffix WHEN 'windows' THEN ', window_end' ELSE '' END
            );
        END LOOP;
    END LOOP;
END
$make$;
