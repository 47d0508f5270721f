"""The savers, which LangGraph calls."""
