"""Worlds for tests that need no long past: they are made ten times as fast."""

from it_incident_response.simulation import SimulatedWorld

YOUNG_S = 600.0
"""Enough for the widest window of a rule."""


def young_world(seed: int = 7, past_s: float = YOUNG_S) -> SimulatedWorld:
    """Return a world with ten minutes of history."""
    return SimulatedWorld(seed, past_s=past_s)
