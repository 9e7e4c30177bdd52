-- Which rule and file of zones the states follow since this poll; empty for the polls before it was told.
ALTER TABLE polls ADD COLUMN zones text NOT NULL DEFAULT '';
