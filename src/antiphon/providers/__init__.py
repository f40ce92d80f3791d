"""How to speak to upstreams: dialects, catalog, transport."""
