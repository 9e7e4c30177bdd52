-- Freezes of the feed: no station changed, where that is no chance. They stand beside the statistics, which don't change.

CREATE TABLE frozen_spans (
    since timestamptz PRIMARY KEY,
    until timestamptz NOT NULL
);

-- A day is one of the session's time zone, which is the feed's.
CREATE VIEW frozen_days AS
SELECT
    day::date AS day,
    sum(extract(epoch FROM least(until, day + interval '1 day') - greatest(since, day)))::bigint AS frozen_seconds
FROM frozen_spans
CROSS JOIN LATERAL generate_series(date_trunc('day', since), until, interval '1 day') AS day
GROUP BY day
HAVING sum(extract(epoch FROM least(until, day + interval '1 day') - greatest(since, day))) > 0;
