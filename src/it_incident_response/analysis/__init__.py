"""Pure computation over values: correlation, findings, rules, ranking. No I/O, no clock."""
