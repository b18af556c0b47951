"""What is done with threads as a whole: kept in order, copied, archived, deleted."""
