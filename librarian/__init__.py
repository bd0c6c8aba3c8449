"""Project package: puts the floors together and holds no rule of the archive itself."""
