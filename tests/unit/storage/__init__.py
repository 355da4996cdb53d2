"""Tests of `it_incident_response.storage`; the contract is in tests/contracts."""
