"""Settings: defaults, YAML, environment, flags, where each came from, and the shipped profiles."""
