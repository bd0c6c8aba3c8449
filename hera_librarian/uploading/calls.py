"""The two calls that everything else makes: upload one product, upload many."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from hera_librarian.deletion import DeletionPolicy
from hera_librarian.exceptions import LibrarianError
from hera_librarian.uploading.identity import product_identity, scan_members
from hera_librarian.uploading.memory import Memory
from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.patience import Patience
from hera_librarian.uploading.problems import LocalProblem
from hera_librarian.uploading.products import Product, check_destination, judge
from hera_librarian.uploading.results import Progress, UploadResult
from hera_librarian.uploading.tar_streams import Packed, pack_product
from hera_librarian.uploading.uploader import SMALL_BYTES, Uploader, Wishes, failed

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

BATCH_PRODUCTS = 2000
BATCH_BYTES = 64 * 2**20
SMALL_MEMBERS = 100


def upload_path(
    client: "LibrarianClient",
    local_path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    deletion_policy: DeletionPolicy = DeletionPolicy.DISALLOWED,
    null_obsid: bool = False,
    obsid: int | None = None,
    uploader: str | None = None,
    way: str = "auto",
    progress: Progress | None = None,
    pace: Pace | None = None,
    memory: Memory | None = None,
    new_patience: Callable[[], Patience] = Patience,
) -> UploadResult:
    """Upload one file, or one directory as one product, and return how it fared.

    Parameters
    ----------
    destination : str
        The name to file it as, relative.
    obsid : int, optional
        Its observation, in whole GPS seconds; `null_obsid` says that it has none.
    way : str
        `auto` (over a shared disk where the site says that this machine sees it, else HTTP), `disk` or `http`.
    progress : callable, optional
        Is told how many bytes went out; negative when a cut is resumed further back.
    pace : Pace, optional
        Limit of bandwidth.
    memory : Memory, optional
        What lets another process go on after this one dies; by default the one in `~/.cache/librarian/uploads`.

    Returns
    -------
    UploadResult
        `.ok` is False for what concerns this product: it cannot be read, its name is taken, the site refuses it.

    Raises
    ------
    LibrarianTimeoutError
        The site is away, or busy for too long. What it has got stays there: repeat the call to go on.
    LibrarianHTTPError
        The account may not upload (401, 403); what was under way can be gone on with.
    """
    wishes = Wishes(DeletionPolicy(deletion_policy), null_obsid, obsid, uploader)
    going = Uploader(client, wishes, way=way, progress=progress, pace=pace, memory=memory, new_patience=new_patience)
    return going.upload(judge(local_path, os.fspath(destination)))


def upload_many(
    client: "LibrarianClient",
    items: Iterable[tuple[str | os.PathLike[str], str]],
    *,
    deletion_policy: DeletionPolicy = DeletionPolicy.DISALLOWED,
    null_obsid: bool = False,
    obsid: int | None = None,
    uploader: str | None = None,
    way: str = "auto",
    progress: Progress | None = None,
    pace: Pace | None = None,
    memory: Memory | None = None,
    new_patience: Callable[[], Patience] = Patience,
) -> Iterator[UploadResult]:
    """Upload products given as pairs of path and destination, and yield how each fared as soon as it is known.

    Small ones travel together, so the results may come in another order. One bad product never fails its neighbours.
    Parameters and exceptions are those of `upload_path`.
    """
    wishes = Wishes(DeletionPolicy(deletion_policy), null_obsid, obsid, uploader)
    going = Uploader(client, wishes, way=way, progress=progress, pace=pace, memory=memory, new_patience=new_patience)
    batch = _Batch(going)
    for path, destination in items:
        product = judge(path, os.fspath(destination))
        if going.ways.can_batch() and is_small(product):
            yield from batch.add(product)
        else:
            yield going.upload(product)
    yield from batch.send()


def is_small(product: Product) -> bool:
    """Whether a product goes into a batch. What cannot be looked at does not: alone it gets its own answer."""
    try:
        if product.problem:
            return False
        if product.is_directory and len(scan_members(product.path)) > SMALL_MEMBERS:
            return False
        return product_identity(product.path)[1] <= SMALL_BYTES
    except (OSError, LocalProblem):
        return False


class _Batch:
    """Small products waiting until there are enough of them; a destination occurs once."""

    def __init__(self, uploader: Uploader) -> None:
        self._uploader = uploader
        site = uploader.client.site()
        limit = site.max_upload_size_bytes if site is not None else None
        self._most_bytes = min(BATCH_BYTES, limit or BATCH_BYTES)
        self._packed: dict[str, Packed] = {}
        self._bytes = 0

    def add(self, product: Product) -> Iterator[UploadResult]:
        """Take a product in, sending those before it where it does not fit."""
        try:
            packed = pack_product(
                product.path, check_destination(product.destination), is_directory=product.is_directory
            )
        except LibrarianError as problem:
            yield failed(product.path, problem)
            return
        full = len(self._packed) >= BATCH_PRODUCTS or self._bytes + packed.tar_bytes > self._most_bytes
        if full or packed.destination in self._packed:
            yield from self.send()
        self._packed[packed.destination] = packed
        self._bytes += packed.tar_bytes

    def send(self) -> Iterator[UploadResult]:
        """Send what is waiting."""
        packed, self._packed, self._bytes = list(self._packed.values()), {}, 0
        if len(packed) == 1:
            only = packed[0]
            yield self._uploader.upload(Product(only.path, only.destination, only.entries[0].is_directory))
        elif packed:
            yield from self._uploader.upload_batch(packed)
