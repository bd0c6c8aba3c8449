"""Bytes moved within a bucket, into quarantine: copied by the service, compared, and only then erased where they were.

S3 knows no renaming. A product gets its tree object there once all its members are, and keeps it at its old place until
they are all erased there: so a repetition after a crash knows how far it came.
"""

from stores.backends.s3.bucket import Bucket, Seen
from stores.backends.s3.held import Found, digest_flat
from stores.backends.s3.layout import claim_key, tree_key
from stores.backends.s3.treeobject import Tree

SINGLE_COPY_BYTES = 5 * 2**30  # S3 copies no more in one request


def move(bucket: Bucket, found: Found, place: str, aside: str) -> None:
    """Move what was found at `place` to `aside`."""
    if isinstance(found, Seen):
        _copy(bucket, found, aside)
        bucket.erase([place])
        return
    keys = [entry.key for entry in bucket.list(f"{place}/")]
    for key in keys:
        seen = bucket.look(key)
        if seen is not None:
            _copy(bucket, seen, aside + key.removeprefix(place))
    if isinstance(found, Tree):
        _copy(bucket, found.seen, tree_key(aside))
    _erase_product(bucket, place)


def finish(bucket: Bucket, found: Found | None, place: str, moved: Found) -> None:
    """Erase what an earlier move left at its old place; new bytes that came there since are not touched."""
    if isinstance(found, Seen) and isinstance(moved, Seen):
        if (found.token, found.size_bytes) == (moved.token, moved.size_bytes) and found.modified <= moved.modified:
            bucket.erase([place])
    elif isinstance(found, Tree) and isinstance(moved, Tree) and found.token == moved.token:
        _erase_product(bucket, place)


def remove(bucket: Bucket, found: Found, place: str) -> None:
    """Erase what was found at a place."""
    if isinstance(found, Seen):
        bucket.erase([place])
    else:
        _erase_product(bucket, place)


def _erase_product(bucket: Bucket, place: str) -> None:
    """The tree object goes last, so that what is left can still be told as belonging to it."""
    bucket.erase(entry.key for entry in bucket.list(f"{place}/"))
    bucket.erase([claim_key(place), tree_key(place)])


def _copy(bucket: Bucket, seen: Seen, key: str) -> None:
    """Copy an object with its facts; whole, or StoreUnavailable."""
    source = bucket.at(seen.key)
    with bucket.speaking(f"copying {bucket.address(seen.key)} to {bucket.address(key)}"):
        if seen.size_bytes > SINGLE_COPY_BYTES:
            options = {"Metadata": dict(seen.facts), "MetadataDirective": "REPLACE"}
            bucket.client.copy(source, **bucket.at(key), ExtraArgs=options)
        else:
            bucket.client.copy_object(**bucket.at(key), CopySource=source, CopySourceIfMatch=seen.etag)
    copied = bucket.look(key)
    if copied is None or copied.size_bytes != seen.size_bytes or not _is_same(bucket, seen, copied):
        raise bucket.unavailable(f"its copy of {bucket.address(seen.key)} to {bucket.address(key)} is another")


def _is_same(bucket: Bucket, seen: Seen, copied: Seen) -> bool:
    """Equal tags mean equal bytes. Those of objects sent in parts depend on the parts, so the bytes are read."""
    if copied.etag == seen.etag:
        return True
    return digest_flat(bucket, seen, [], None).digest == digest_flat(bucket, copied, [], None).digest
