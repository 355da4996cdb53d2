"""The order of the stages for one incident, and what wakes it; reads like the runbook."""
