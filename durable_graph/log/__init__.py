"""A thread as a write-ahead log: records, operations on the state, and what they fold to."""
