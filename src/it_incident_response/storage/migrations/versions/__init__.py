"""The revisions, oldest first: `NNNN_what_it_adds.py`."""
