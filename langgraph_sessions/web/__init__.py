"""A page to look at: sessions, their conversations and checkpoints, in a browser."""
