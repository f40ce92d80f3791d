"""The port to durable state, and its databases."""
