"""What runs on the far host: streamed there for each link, with the posix kind of store below it.

Only Python itself may be needed here: neither Django nor any package is there.
"""
