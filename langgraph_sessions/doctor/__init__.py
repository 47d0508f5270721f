"""The doctor: problems of a database, and how to mend them."""
