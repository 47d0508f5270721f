"""The pip-installed PostgreSQL and its guardian."""
