-- Version 4: an index of the threads that rest before their end, for listing those of a status.

CREATE INDEX threads_by_rest ON threads (tenant, status, updated, thread)
    WHERE status IN ('failed', 'asking', 'stopped');
