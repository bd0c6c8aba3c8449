"""Client side of the Librarian: message shapes, checksums and names, usable without Django."""
