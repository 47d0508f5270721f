"""Citus: what goes to which node, through which one, and what is so when one of them is gone."""
