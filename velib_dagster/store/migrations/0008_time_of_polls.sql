-- What polls tell of their document's age, of freezes, and of clocks that were ahead.

ALTER TABLE polls
    ADD COLUMN document_made_at timestamptz,
    ADD COLUMN document_age_seconds integer,
    ADD COLUMN stamp_wrong boolean NOT NULL DEFAULT false,
    ADD COLUMN frozen_since timestamptz,
    ADD COLUMN pace jsonb,
    ADD COLUMN voids jsonb;
