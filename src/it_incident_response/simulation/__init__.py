"""One coherent simulated world behind the same ports; never imported by the core."""
