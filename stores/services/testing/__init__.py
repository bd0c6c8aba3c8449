"""Trying a store out for a person: what works, what does not, why, and what to do about it.

Each kind has its own looks (`posix`, `ssh`, `s3`); then a small file makes the round trip through the backend.
"""

from librarian.common.findings import Finding
from stores.services.testing.trying import examine_store, test_store

__all__ = ["Finding", "examine_store", "test_store"]
