-- Version 5: an index for listing that most changes leave alone.
--
-- What is not in any index can be changed in place, and a head is changed by every append. So the
-- index has the minute of the change; within one, whoever lists has them sorted.

DROP INDEX {schema}.threads_by_change;

ALTER TABLE {schema}.threads
    ADD COLUMN minute double precision NOT NULL GENERATED ALWAYS AS (floor(updated / 60)) STORED;

CREATE INDEX threads_by_minute ON {schema}.threads (tenant, minute);
