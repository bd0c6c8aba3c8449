"""Where things lie in a bucket, below the store's prefix.

A flat file is the object at its place. A directory product is one object for each of its files below its place; while
they are written a *claim* names the delivery that may write there, and at the end the *tree*, an object that tells the
members, makes them one product. So what was half written is never taken for whole.
"""

from stores.backends.base import PlaceOccupied, UnsafeProduct
from stores.backends.places import CORNER, shown

CLAIMS = f"{CORNER}/claims/"
TREES = f"{CORNER}/trees/"
RECORD = f"{CORNER}/record/"
MAX_KEY_BYTES = 1024  # of S3
_CORNER_BYTES = 64  # the longest of the corners' own directories, quarantine below trees


def claim_key(place: str) -> str:
    """The object by which a delivery takes the place of a directory product."""
    return CLAIMS + place


def tree_key(place: str) -> str:
    """The object that tells the members of the directory product at a place."""
    return TREES + place


def refuse_long(prefix: str, path: str) -> None:
    """Refuse what would need a key that S3 does not allow, there or in quarantine. Raises UnsafeProduct."""
    room = MAX_KEY_BYTES - _CORNER_BYTES
    if len((prefix + path).encode()) > room:
        raise UnsafeProduct(
            f"{shown(path)} cannot be kept in an S3 bucket: its key would be longer than {room} bytes.",
            remedy="Give it a shorter path, or keep it on a store of another kind.",
        )


def occupied(address: str) -> PlaceOccupied:
    """Something else lies there."""
    return PlaceOccupied(
        f"Something else lies at {address}.", remedy="Choose another place; what lies there was not touched."
    )
