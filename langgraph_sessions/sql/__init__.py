"""Every statement and function, with its reason."""
