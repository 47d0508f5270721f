"""The commands. Each imports LangGraph and psycopg itself: `--version` and `--help` are quick."""
