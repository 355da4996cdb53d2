"""Real servers for tests: Debian's own programs on loopback, in temporary folders."""
