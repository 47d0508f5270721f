"""Runs: the thread of each, and its saves; no I/O."""
