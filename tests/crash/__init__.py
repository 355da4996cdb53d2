"""Kills real processes at every journal state of a plan, and judges from the outside what ran."""
