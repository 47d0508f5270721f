"""Outages: memory answers while the database is away."""
