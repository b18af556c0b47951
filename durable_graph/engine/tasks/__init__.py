"""A due task: its attempts, and all that its node's code can reach."""
