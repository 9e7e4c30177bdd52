-- Which stations a usable poll lacked: told by the states since poll records are of bounded size. `polls.absent` stays
-- for the polls before.
ALTER TABLE polls
    ADD COLUMN absent_stations integer NOT NULL DEFAULT 0,
    ADD COLUMN set_aside integer NOT NULL DEFAULT 0;
UPDATE polls SET absent_stations = (SELECT count(*) FROM jsonb_object_keys(absent)) WHERE absent <> '{}';

CREATE TABLE absences (
    station_code text NOT NULL,
    since        timestamptz NOT NULL,
    until        timestamptz,
    PRIMARY KEY (station_code, since)
);
