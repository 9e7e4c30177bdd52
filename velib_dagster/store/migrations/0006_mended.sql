-- How many values of a poll's answers were mended, by field and what was wrong with them.

ALTER TABLE polls ADD COLUMN mended jsonb NOT NULL DEFAULT '{}';
