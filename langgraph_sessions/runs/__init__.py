"""Where a run goes, and what it saves; no I/O."""
