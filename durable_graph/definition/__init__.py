"""A graph, validated and frozen."""
