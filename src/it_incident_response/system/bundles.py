"""Bundles: an incident as a directory that people can share, investigated without any system."""

from pathlib import Path

from it_incident_response.analysis.bundle.investigation import investigate
from it_incident_response.analysis.bundle.report import BundleReport
from it_incident_response.integrations.bundle_files import read_bundle


def investigated(folder: Path) -> BundleReport:
    """Return what happened in the bundle; raises `InputRejected` if it cannot be read."""
    return investigate(read_bundle(folder))
