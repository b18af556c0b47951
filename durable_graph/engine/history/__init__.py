"""What is read of a thread: its state, its checkpoints, its events."""
