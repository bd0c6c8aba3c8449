"""What the suite stands on: a PostgreSQL of its own, a browser, real server processes. No test lives here."""
