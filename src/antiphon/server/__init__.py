"""The thin edge: HTTP in, events out."""
