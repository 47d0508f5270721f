"""The saver below LangGraph's real Agent Server, which needs no network."""
