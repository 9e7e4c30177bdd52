CREATE TABLE days_in_doubt (
    day            date PRIMARY KEY,
    since          timestamptz NOT NULL,
    tried_at       timestamptz NOT NULL,
    tries          integer NOT NULL,
    archived_bytes bigint NOT NULL,
    program        text NOT NULL,
    reason         text NOT NULL
);
