-- What each forecast was made with: a champion, or the rival that stood in for one.

CREATE TABLE forecast_models (
    made_at         timestamptz NOT NULL,
    target          text NOT NULL CHECK (target IN ('full', 'empty')),
    horizon_minutes integer NOT NULL,
    model           text NOT NULL,
    version         integer,
    worth           text NOT NULL,
    PRIMARY KEY (made_at, target, horizon_minutes)
);

CREATE OR REPLACE VIEW forecast_now AS
SELECT
    f.station_code, s.name, s.zone, s.lat, s.lon, f.made_at, f.horizon_minutes, f.target_at, f.bikes, f.docks,
    f.risk_full, f.risk_empty, full_model.model AS full_model, empty_model.model AS empty_model
FROM station_forecasts AS f
JOIN station_now AS s USING (station_code)
LEFT JOIN forecast_models AS full_model
    ON full_model.made_at = f.made_at AND full_model.horizon_minutes = f.horizon_minutes AND full_model.target = 'full'
LEFT JOIN forecast_models AS empty_model
    ON empty_model.made_at = f.made_at AND empty_model.horizon_minutes = f.horizon_minutes
    AND empty_model.target = 'empty'
WHERE f.made_at = (SELECT max(made_at) FROM station_forecasts);
