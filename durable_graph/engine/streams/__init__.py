"""What a watcher is told, and how it gets there."""
