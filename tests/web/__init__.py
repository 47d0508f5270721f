"""Tests of the page: by a client that sees each header, and in a real browser."""
