"""Accounts: who may do what."""
