"""Errors, jobs, audit, ping and health: pages, endpoints and queries."""
