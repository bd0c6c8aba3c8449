"""Uploading products to one site, one after the other: the choice of the way, and an answer for each.

What is wrong with a product becomes its answer; what is wrong with the connection or the account is raised, since it
concerns every product.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hera_librarian.checksums import SEPARATOR
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.uploading.known import find_known, is_same
from hera_librarian.uploading.memory import Forgetful, Held, Memory, UploadKey
from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.patience import Patience
from hera_librarian.uploading.problems import NO_ACCESS, LocalProblem, Refused, UploadError, missing
from hera_librarian.uploading.products import Product, check_destination
from hera_librarian.uploading.results import ALREADY_HERE, FAILED, Progress, UploadResult
from hera_librarian.uploading.sources import FileSource, MemorySource, Source
from hera_librarian.uploading.tar_streams import BatchSource, Packed, TreeSource
from hera_librarian.uploading.tus import Delivery
from hera_librarian.uploading.ways import DISK, HTTP, Ways

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

SMALL_BYTES = 2**20
ASK_BYTES = 8 * 2**20  # from here on it pays to ask first whether the archive holds the product already


@dataclass(frozen=True, slots=True)
class Wishes:
    """What holds for every product of one call."""

    deletion_policy: DeletionPolicy = DeletionPolicy.DISALLOWED
    null_obsid: bool = False
    obsid: int | None = None
    uploader: str | None = None

    def metadata(self) -> dict[str, str]:
        return {
            "deletion_policy": "allowed" if self.deletion_policy == DeletionPolicy.ALLOWED else "disallowed",
            "null_obsid": "true" if self.null_obsid else "",
            "obsid": "" if self.obsid is None else str(self.obsid),
            "uploader": self.uploader or "",
        }


class Uploader:
    """Uploads to one site. `new_patience` makes what decides how long each upload goes on without an answer."""

    def __init__(
        self,
        client: "LibrarianClient",
        wishes: Wishes,
        *,
        way: str = "auto",
        progress: Progress | None = None,
        pace: Pace | None = None,
        memory: Memory | None = None,
        new_patience: Callable[[], Patience] = Patience,
    ) -> None:
        self.client = client
        self.ways = Ways(client, way, obsid=wishes.obsid)
        self._wishes = wishes
        self._progress = progress
        self._pace = pace
        self._memory = memory if memory is not None else Memory()
        self._new_patience = new_patience
        self._memory.drop_expired()

    def upload(self, product: Product) -> UploadResult:
        """Upload one product. Raises LibrarianHTTPError (401, 403) and LibrarianTimeoutError."""
        try:
            if product.problem:
                if not os.path.lexists(product.path):
                    raise missing(product.path)
                raise LocalProblem(
                    "unsafe_product", f"{product.path} cannot be uploaded: {product.problem}.", "Name another path."
                )
            check_destination(product.destination)
            if self.ways.is_disk:
                return self._by_disk(product)
            return self._by_http(product)
        except LibrarianTimeoutError:
            raise
        except LibrarianHTTPError as problem:
            if problem.status_code in NO_ACCESS:
                raise
            return failed(product.path, problem)
        except LibrarianError as problem:
            return failed(product.path, problem)

    def upload_batch(self, products: Sequence[Packed]) -> Iterator[UploadResult]:
        """Upload small products together; each gets an answer, alone where the batch as a whole is refused."""
        source = BatchSource(products)
        metadata = self._metadata("batch.tar", "batch")
        try:
            answer = self._deliver(source, metadata, path="")
        except Refused:
            answer = {}
        answers = {str(said.get("path", "")): said for said in answer.get("products") or []}
        for product in products:
            said = answers.get(product.destination)
            if said is None:
                is_directory = product.entries[0].is_directory
                yield self.upload(Product(product.path, product.destination, is_directory))
            else:
                yield batch_result(product, said)

    # --- Over a shared disk -------------------------------------------------------------------------------------------

    def _by_disk(self, product: Product) -> UploadResult:
        from hera_librarian.shared_disk import NoSharedDisk
        from hera_librarian.wire_upload import upload_by_disk

        try:
            done = upload_by_disk(
                self.client,
                product.path,
                product.destination,
                deletion_policy=self._wishes.deletion_policy,
                null_obsid=self._wishes.null_obsid,
                uploader=self._wishes.uploader,
                progress=self._progress,
                pace=self._pace,
            )
        except NoSharedDisk:
            if not self.ways.may_fall_back:
                raise
            self.ways.give_up_disk()
            return self._by_http(product)
        return UploadResult(product.path, done.name, done.outcome, done.size_bytes, done.checksum, DISK)

    # --- Over HTTP ----------------------------------------------------------------------------------------------------

    def _by_http(self, product: Product) -> UploadResult:
        self.ways.require_http()
        name = check_destination(product.destination)
        if product.is_directory:
            source: Source = TreeSource(product.path, name.rpartition("/")[2])
        else:
            source = FileSource(product.path)
            if source.length_bytes <= SMALL_BYTES:
                return self._small_by_http(product, name)
        metadata = self._metadata(name, source.content)
        with self._memory.holding(self._key(source, metadata, product.path)) as held:
            if not held.location and source.size_bytes >= ASK_BYTES:
                known = find_known(self.client.transport, name)
                if known is not None and is_same(known, source):
                    return self._already_here(product, known, source)
            answer = self._run(source, metadata, held)
        return result(product.path, source.checksum(), source.size_bytes, answer)

    def _small_by_http(self, product: Product, name: str) -> UploadResult:
        """One request: the bytes with their checksum, committed at once."""
        source = MemorySource(product.path)
        metadata = self._metadata(name, source.content) | {"checksum": source.checksum(), "commit": "auto"}
        answer = self._run(source, metadata, Forgetful(), at_once=True)
        return result(product.path, source.checksum(), source.size_bytes, answer)

    def _deliver(self, source: Source, metadata: dict[str, str], *, path: str) -> dict[str, Any]:
        with self._memory.holding(self._key(source, metadata, path)) as held:
            return self._run(source, metadata, held)

    def _run(self, source: Source, metadata: dict[str, str], held: Held, *, at_once: bool = False) -> dict[str, Any]:
        return Delivery(
            self.client.transport,
            source,
            metadata,
            held=held,
            patience=self._new_patience(),
            pace=self._pace,
            progress=self._progress,
            at_once=at_once,
        ).run()

    def _metadata(self, name: str, content: str) -> dict[str, str]:
        return {"filename": name, "content": content, "commit": "asked", **self._wishes.metadata()}

    def _key(self, source: Source, metadata: dict[str, str], path: str) -> UploadKey:
        wishes = "\n".join(f"{key}={value}" for key, value in sorted(metadata.items()))
        return UploadKey(self.client.transport.root, self.client.user, path, source.identity, wishes)

    def _already_here(self, product: Product, known: dict[str, Any], source: Source) -> UploadResult:
        if self._progress is not None:
            self._progress(source.size_bytes)
        checksum = source.checksum() if not product.is_directory else str(known.get("checksum", ""))
        return UploadResult(
            product.path, str(known["name"]), ALREADY_HERE, source.size_bytes, checksum, receipt=dict(known)
        )


def result(path: str, checksum: str, size_bytes: int, answer: dict[str, Any]) -> UploadResult:
    """What the server's answer to a whole upload means."""
    name = str(answer.get("file") or answer.get("name") or "")
    held = str(answer.get("checksum") or "")
    if held.partition(SEPARATOR)[0] == checksum.partition(SEPARATOR)[0] and held != checksum:
        reason = f"The archive says that {name} has the checksum {held}; {path} has {checksum}."
        return failed(path, Refused("content_mismatch", reason, "Tell the site's operator.", answer=answer))
    return UploadResult(path, name, str(answer.get("outcome") or ""), size_bytes, checksum, HTTP, receipt=answer)


def batch_result(product: Packed, said: dict[str, Any]) -> UploadResult:
    """What the server's answer to one product of a batch means."""
    return UploadResult(
        path=product.path,
        name=str(said.get("name") or ""),
        outcome=str(said.get("outcome") or FAILED),
        size_bytes=product.size_bytes,
        checksum=product.checksum,
        way=HTTP,
        code=str(said.get("code") or ""),
        reason=str(said.get("reason") or ""),
        remedy=str(said.get("suggested_remedy") or ""),
        receipt=said,
    )


def failed(path: str, problem: LibrarianError | LibrarianHTTPError) -> UploadResult:
    """The answer for a product that could not be uploaded."""
    answer = problem.answer if isinstance(problem, UploadError) else getattr(problem, "full_response", {})
    return UploadResult(
        path,
        outcome=FAILED,
        code=problem.code,
        reason=problem.reason,
        remedy=problem.suggested_remedy,
        receipt=answer,
    )
