"""The way to PostgreSQL, which is tried again where a connection breaks."""
