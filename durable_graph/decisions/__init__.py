"""What happens, decided in plain functions: no I/O, no clock, no randomness."""
