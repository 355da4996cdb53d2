"""The typed actions: one kind a file, listed once in ACTIONS. Data and judgement, no I/O."""
