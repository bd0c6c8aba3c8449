"""Stores in a directory of another machine, reached by the system's own ssh."""
