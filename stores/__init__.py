"""Stores: where the bytes lie."""
