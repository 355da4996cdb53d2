"""Whole incidents in the simulated world, through the real store, gate, agents and workflow."""
