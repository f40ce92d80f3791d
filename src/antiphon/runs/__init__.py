"""The life of a response: log, run, table."""
