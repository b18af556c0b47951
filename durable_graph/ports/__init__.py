"""What the engine needs from outside, and the stand-ins that need nothing from outside."""
