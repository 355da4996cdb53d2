"""The typed values: frozen data and pure functions on them. No I/O, no clock, no randomness."""
