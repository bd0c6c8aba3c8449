"""The machine API of the network: the wire's endpoints in `wire.py`."""
