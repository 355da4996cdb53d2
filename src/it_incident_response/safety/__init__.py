"""Whether an action may run: policy, approval, limits, redaction. Sees ports, never adapters."""
