"""Directory products on their way into a bucket: a claim, their members below it, and the tree that makes them one."""

import errno
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from stores.backends import durable
from stores.backends.base import Content, Member, UnsafeProduct
from stores.backends.places import shown
from stores.backends.reading import Explain
from stores.backends.s3 import treeobject, uploading
from stores.backends.s3.bucket import SHA256, TOKEN, Bucket
from stores.backends.s3.layout import claim_key, occupied, refuse_long
from stores.backends.s3.uploading import WORKERS, abort, open_uploads, upload
from stores.backends.sorting import SortedLines
from stores.backends.trees import TreeReader

_CLAIM_BYTES = 4096


def write_tree(bucket: Bucket, token: str, top: int, place: str, location: str, explain: Explain) -> None:
    """Make the directory open as `top` the product at a place. Raises PlaceOccupied."""
    content = TreeReader([], explain=explain, location=location).read(top)
    for member in content.members:
        refuse_long(bucket.target.prefix, f"{place}/{member.path}")
    _claim(bucket, token, place)
    _send_members(bucket, token, top, place, content)
    _refuse_strangers(bucket, place, content)
    if not treeobject.write(bucket, place, token, content):
        tree = treeobject.look(bucket, place)
        if tree is None or tree.token != token:
            raise occupied(bucket.address(place))


def _claim(bucket: Bucket, token: str, place: str) -> None:
    """Take the place, which nobody else can then take; it must be empty."""
    key = claim_key(place)
    if bucket.put_new(key, json.dumps({"token": token}).encode(), {TOKEN: token}):
        if bucket.anything_below(f"{place}/"):
            raise occupied(bucket.address(place))
    else:
        claim = bucket.look(key)
        if claim is None or claim.token != token:
            raise occupied(bucket.address(place))
    if bucket.look(place) is not None or treeobject.look(bucket, place) is not None:
        raise occupied(bucket.address(place))


def _send_members(bucket: Bucket, token: str, top: int, place: str, content: Content) -> None:
    """Small files several at a time, large ones one after another: each of those has parts of its own on the way."""
    waiting: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="librarian-s3")
    try:
        for member in content.members:
            if member.kind != "file":
                continue
            if member.size_bytes > uploading.PART_BYTES:
                _send(bucket, token, top, place, member)
                continue
            while len(waiting) >= 2 * WORKERS:
                waiting.popleft().result()
            waiting.append(pool.submit(_send, bucket, token, top, place, member))
        for sent in waiting:
            sent.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _send(bucket: Bucket, token: str, top: int, place: str, member: Member) -> None:
    key = f"{place}/{member.path}"
    *above, name = member.path.split("/")
    try:
        with (
            durable.closing(durable.descend(top, above)) as parent,
            durable.closing(durable.open_for_reading(name, at=parent)) as file,
        ):
            made = upload(bucket, file, key, member.sha256, {TOKEN: token})
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UnsafeProduct(f"The product's member {shown(member.path)} is a symbolic link.") from error
    if not made:
        seen = bucket.look(key)
        if seen is None or (seen.token, seen.facts.get(SHA256)) != (token, member.sha256):
            raise occupied(bucket.address(place))


def _refuse_strangers(bucket: Bucket, place: str, content: Content) -> None:
    """See that exactly the members lie there: an object of somebody else would become part of the product."""
    expected = hashlib.sha256()
    for path, size in _sorted((member.path, member.size_bytes) for member in content.members if member.kind == "file"):
        expected.update(b"%d %s\0" % (size, path))
    found = hashlib.sha256()
    there = ((entry.key.removeprefix(f"{place}/"), entry.size_bytes) for entry in bucket.list(f"{place}/"))
    for path, size in _sorted(there):
        found.update(b"%d %s\0" % (size, path))
    if bucket.look(place) is not None or expected.digest() != found.digest():
        raise occupied(bucket.address(place))


def _sorted(entries: Iterable[tuple[str, int]]) -> Iterator[tuple[bytes, int]]:
    lines = SortedLines()
    for path, size in entries:
        lines.add(path.encode() + b"\0%d" % size)
    for line in lines:
        path, _, size = line.rpartition(b"\0")
        yield path, int(size)


def unclaim(bucket: Bucket, token: str, place: str) -> None:
    """Give up the claim of a delivery, whose product is whole or gone."""
    claim = bucket.look(claim_key(place))
    if claim is not None and claim.token == token:
        bucket.erase([claim.key])


def remove_part(bucket: Bucket, token: str, place: str) -> None:
    """Remove what a delivery wrote of a product that it did not finish, if the place is claimed by it."""
    claim = bucket.look(claim_key(place))
    if claim is None or claim.token != token:
        return
    if treeobject.look(bucket, place) is None:
        for key, upload_id, _ in open_uploads(bucket, f"{place}/"):
            abort(bucket, key, upload_id)
        for entry in bucket.list(f"{place}/"):
            seen = bucket.look(entry.key)
            if seen is not None and seen.token == token:
                bucket.erase([entry.key])
    bucket.erase([claim.key])
