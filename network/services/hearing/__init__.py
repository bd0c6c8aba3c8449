"""What peers say about transfers, in either direction, and what it moves here."""
