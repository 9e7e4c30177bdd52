-- The home that writes this database; one row, put there when a home first comes.
CREATE TABLE home (
    id     text NOT NULL,
    folder text NOT NULL,
    since  timestamptz NOT NULL DEFAULT now()
);
