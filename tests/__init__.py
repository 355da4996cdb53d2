"""The tests; a package, so that the real test stack can be imported from everywhere in it."""
