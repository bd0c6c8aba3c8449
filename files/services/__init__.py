"""What changes the archive: each service checks, changes, records and returns, and owns its transactions."""
