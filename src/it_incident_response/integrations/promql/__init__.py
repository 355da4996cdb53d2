"""PromQL: escaping, taking expressions apart, and the catalogue of queries per signal."""
