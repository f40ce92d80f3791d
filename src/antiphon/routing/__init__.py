"""Model name to ordered targets."""
