"""Detects incidents, explains them with evidence, asks a human, acts, verifies, and records it."""

__version__ = "0.1.0"
