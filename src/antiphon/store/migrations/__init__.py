"""SQL that brings a database from one schema to the next, one folder per engine."""
