"""One module per outside system that is read or told; wire shape in, domain values out."""
