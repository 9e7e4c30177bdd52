-- Which poll a row is of: a record that comes again behind a newer one must not replace it.
ALTER TABLE station_states ADD COLUMN poll text;
