-- The forecast of every station, what came of it, and how good it was by day. Comments are not here: migrate.py sets
-- them from forecast_columns.py.

CREATE TABLE station_forecasts (
    station_code    text NOT NULL,
    made_at         timestamptz NOT NULL,
    horizon_minutes integer NOT NULL,
    target_at       timestamptz NOT NULL,
    bikes           integer NOT NULL,
    docks           integer,
    risk_full       double precision,
    risk_empty      double precision,
    full_version    integer,
    empty_version   integer,
    settled         boolean NOT NULL DEFAULT false,
    was_full        boolean,
    was_empty       boolean,
    PRIMARY KEY (made_at, horizon_minutes, station_code)
);
CREATE INDEX station_forecasts_of_station ON station_forecasts (station_code, made_at);
CREATE INDEX station_forecasts_by_target ON station_forecasts (target_at);
CREATE INDEX station_forecasts_to_settle ON station_forecasts (target_at) WHERE NOT settled;

CREATE TABLE forecast_scores (
    day                 date NOT NULL,
    target              text NOT NULL CHECK (target IN ('full', 'empty')),
    horizon_minutes     integer NOT NULL,
    forecasts           bigint NOT NULL,
    events              bigint NOT NULL,
    pr_auc              double precision,
    pr_auc_of_count     double precision,
    brier               double precision NOT NULL,
    brier_persistence   double precision NOT NULL,
    scored_at           timestamptz NOT NULL,
    PRIMARY KEY (day, target, horizon_minutes)
);

-- Each station's newest state that began at or before an instant. One look into the index per station: reading all
-- states of a week would take seconds.
CREATE FUNCTION station_states_at(at timestamptz) RETURNS SETOF station_states
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE codes AS (
        (SELECT station_code FROM station_states ORDER BY station_code LIMIT 1)
        UNION ALL
        SELECT (SELECT s.station_code FROM station_states AS s WHERE s.station_code > c.station_code
                ORDER BY s.station_code LIMIT 1)
        FROM codes AS c WHERE c.station_code IS NOT NULL
    )
    SELECT state.*
    FROM codes
    CROSS JOIN LATERAL (
        SELECT * FROM station_states AS s
        WHERE s.station_code = codes.station_code AND s.since <= station_states_at.at
        ORDER BY s.since DESC LIMIT 1
    ) AS state
    WHERE codes.station_code IS NOT NULL
$$;

CREATE VIEW forecast_now AS
SELECT
    f.station_code, s.name, s.zone, s.lat, s.lon, f.made_at, f.horizon_minutes, f.target_at, f.bikes, f.docks,
    f.risk_full, f.risk_empty
FROM station_forecasts AS f
JOIN station_now AS s USING (station_code)
WHERE f.made_at = (SELECT max(made_at) FROM station_forecasts);
