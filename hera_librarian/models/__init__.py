"""Shapes of the messages of the wire protocol, one module a group of endpoints, the same for client and server.

Unknown fields are ignored in both directions. Requests are held to what a catalogue can store; answers are not, since
they may come from a server with other limits.
"""
