"""What is wrong with a database, and how to mend it."""
