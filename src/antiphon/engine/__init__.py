"""What happens to one request; no HTTP words, no SQL words."""
