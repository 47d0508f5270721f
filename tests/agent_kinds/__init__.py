"""Agents of all kinds, beside what they do with LangGraph's own savers."""
