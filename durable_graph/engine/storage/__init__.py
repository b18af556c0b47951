"""The way into a backend: what runs append, written together."""
