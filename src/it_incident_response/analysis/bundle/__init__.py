"""Diagnosis of an exported bundle: what failed first, and which change, if any, did it."""
