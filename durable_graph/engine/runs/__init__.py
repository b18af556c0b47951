"""A call, from what it brings to the last superstep of its run."""
