"""Tests against real servers; opted in by `--real`."""
