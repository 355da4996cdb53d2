"""Mining of log templates: mask by shape, group as columns, join what varies, score."""
