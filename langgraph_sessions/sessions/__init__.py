"""Everything behind `saver.sessions`."""
