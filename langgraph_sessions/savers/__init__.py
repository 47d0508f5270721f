"""What LangGraph calls."""
