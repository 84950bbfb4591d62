"""The only SQL: tables, and stores that speak in transitions."""
