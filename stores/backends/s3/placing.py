"""Giving a staged item its place in the bucket: never overwriting, and knowing it again after a crash.

S3 knows no directories, so what is no single key is looked at before: that no file lies where a directory is needed,
and nothing below where a file goes. Of two writers of one key the service itself lets one through.
"""

import stat
import time

from stores.backends import durable
from stores.backends.base import MissingBytes, PlaceOccupied, UnsafeProduct
from stores.backends.placing import ITEM
from stores.backends.reading import Explain
from stores.backends.s3 import spooled, treeobject, trees
from stores.backends.s3.bucket import SHA256, TOKEN, Bucket
from stores.backends.s3.layout import claim_key, occupied, refuse_long, tree_key
from stores.backends.s3.spooled import Begun
from stores.backends.s3.uploading import abort, upload

_PLAIN_SECONDS = 60.0  # so long a directory is known to be one


class Placer:
    """Places deliveries of one store."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._plain: dict[str, float] = {}

    # --- Placing ---

    def place(self, token: str, area: int, place: str, location: str, explain: Explain) -> None:
        """Upload the item of the staging directory `area`. Raises PlaceOccupied, MissingBytes (no item)."""
        refuse_long(self._bucket.target.prefix, place)
        begun = spooled.read_begun(area)
        if begun is not None and begun.place != place:
            self.clean(token, area)
        seen = durable.look(ITEM, at=area)
        if seen is None:
            if not self.is_placed(token, place):
                raise MissingBytes(f"The staged item of {self._bucket.address(place)} is no longer there.")
        elif stat.S_ISDIR(seen.st_mode):
            self._place_tree(token, area, place, location, explain)
        elif stat.S_ISREG(seen.st_mode):
            self._place_flat(token, area, place, location, explain)
        else:
            raise UnsafeProduct("What was delivered is a link, device, socket or pipe.")

    def is_placed(self, token: str, place: str) -> bool:
        """True if what lies at a place is the delivery `token`, whole."""
        flat = self._bucket.look(place)
        if flat is not None:
            return flat.token == token
        tree = treeobject.look(self._bucket, place)
        return tree is not None and tree.token == token

    def _place_flat(self, token: str, area: int, place: str, location: str, explain: Explain) -> None:
        self._refuse_file_above(place)
        below = self._bucket.anything_below(f"{place}/")
        if below or self._bucket.look(tree_key(place)) is not None:
            raise occupied(self._bucket.address(place))
        with durable.closing(durable.open_for_reading(ITEM, at=area)) as item:
            digest = spooled.flat_digest(area, item, location, explain)
            self._end_upload(area, place)
            made = upload(
                self._bucket,
                item,
                place,
                digest,
                {TOKEN: token},
                on_begun=lambda upload_id: spooled.note_begun(area, Begun(place, upload_id)),
            )
        if not made and not self._is_own(token, place, digest):
            raise occupied(self._bucket.address(place))
        spooled.note_ended(area)

    def _is_own(self, token: str, place: str, digest: str) -> bool:
        flat = self._bucket.look(place)
        return flat is not None and (flat.token, flat.facts.get(SHA256)) == (token, digest)

    def _place_tree(self, token: str, area: int, place: str, location: str, explain: Explain) -> None:
        tree = treeobject.look(self._bucket, place)
        if tree is not None and tree.token != token:
            raise occupied(self._bucket.address(place))
        if tree is None:
            self._refuse_file_above(place)
            spooled.note_begun(area, Begun(place))
            try:
                with durable.closing(durable.open_directory(ITEM, at=area)) as top:
                    trees.write_tree(self._bucket, token, top, place, location, explain)
            except PlaceOccupied:
                self.clean(token, area)
                raise
        trees.unclaim(self._bucket, token, place)
        spooled.note_ended(area)

    def _refuse_file_above(self, place: str) -> None:
        """A file or a directory product is no directory to put things into."""
        parts = place.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if time.monotonic() - self._plain.get(above, -_PLAIN_SECONDS) < _PLAIN_SECONDS:
                continue
            if any(self._bucket.look(key) is not None for key in (above, tree_key(above), claim_key(above))):
                raise PlaceOccupied(
                    f"A file or product lies where {self._bucket.address(place)} needs a directory.",
                    remedy="Choose another place; what lies there was not touched.",
                )
            self._plain[above] = time.monotonic()

    # --- What was left half done ---

    def clean(self, token: str, area: int) -> None:
        """Remove from the bucket what this delivery left there in part; never what is whole."""
        begun = spooled.read_begun(area)
        if begun is None:
            return
        if begun.upload_id:
            abort(self._bucket, begun.place, begun.upload_id)
        else:
            trees.remove_part(self._bucket, token, begun.place)
        spooled.note_ended(area)

    def _end_upload(self, area: int, place: str) -> None:
        """The parts of an attempt that was killed; its object, if it became one, is found by its key."""
        begun = spooled.read_begun(area)
        if begun is not None and begun.upload_id:
            abort(self._bucket, place, begun.upload_id)
