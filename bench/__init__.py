"""Benchmarks, each next to a peer in the same run; `python -m bench` runs them all."""
