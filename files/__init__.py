"""Files: what is archived, where its copies are, and how it came here."""
