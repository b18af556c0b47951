"""What makes it happen: awaits, appends, tells."""
