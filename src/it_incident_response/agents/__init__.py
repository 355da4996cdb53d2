"""The stages of an incident: each turns values into the next one and keeps no state."""
