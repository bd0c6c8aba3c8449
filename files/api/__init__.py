"""The machine API of files: the wire's endpoints in `wire.py`, version 3 in the other modules."""
