"""Everything on one machine with nothing installed: a PostgreSQL of our own and the processes around it."""
