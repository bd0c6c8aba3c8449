"""The version of client and site, which are released together."""

VERSION = "0.1.0"
