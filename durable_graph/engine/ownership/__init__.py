"""What this process holds: who runs which thread, and states at hand."""
