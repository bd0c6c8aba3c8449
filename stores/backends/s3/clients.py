"""Clients of S3 services, one for each service and profile, shared by the threads of a process."""

import os
import threading
from typing import Any

from stores.backends.s3.target import Target

CONNECT_SECONDS = 10
READ_SECONDS = 60
ATTEMPTS = 4
_CONNECTIONS = 32

_clients: dict[tuple[Any, ...], Any] = {}
_lock = threading.Lock()


def client_for(target: Target) -> Any:
    """The client of a target's service. Raises what botocore raises when its configuration cannot be read."""
    key = _key(target)
    with _lock:
        if key not in _clients:
            _clients[key] = _make(target)
        return _clients[key]


def forget_client(target: Target) -> None:
    """Let the next call read the AWS configuration again: its credentials were refused and may have been mended."""
    with _lock:
        _clients.pop(_key(target), None)


def _key(target: Target) -> tuple[Any, ...]:
    # A child must not share the connections of its parent, hence the process.
    return (os.getpid(), target.endpoint_url, target.region, target.profile)


def _make(target: Target) -> Any:
    import boto3  # here, since sites without such a store need not load it with every command
    from botocore.config import Config

    session = boto3.session.Session(profile_name=target.profile or None)
    return session.client(
        "s3",
        endpoint_url=target.endpoint_url or None,
        region_name=target.region or None,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=_CONNECTIONS,
            # Services other than Amazon's seldom have a host name for each bucket.
            s3={"addressing_style": "path"} if target.endpoint_url else {},
            # We send SHA-256 of what we know; the other checksums of newer clients break services that lack them.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
