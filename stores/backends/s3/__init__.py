"""Stores in a bucket of an S3 service; deliveries wait in a spool of this machine until they get their place."""

from stores.backends.s3.backend import S3Backend

__all__ = ["S3Backend"]
