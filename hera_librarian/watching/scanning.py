"""Looking for products in the watched directory, and for when they stop growing.

A product has settled when its sizes, times of change and inodes were seen the same for long enough by a clock that
only runs forward: this machine's date may step back or ahead, and times written on the disk decide nothing.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from hera_librarian.exceptions import LibrarianError
from hera_librarian.uploading.identity import product_identity
from hera_librarian.uploading.problems import LocalProblem
from hera_librarian.uploading.products import DIRECTORY_PRODUCTS, Product, products_below
from hera_librarian.uploading.results import FAILED, UploadResult
from hera_librarian.watching.journal import Entry, Journal, State

BATCH = 500


class Scanner:
    """Looks at a directory again and again and writes down what it finds."""

    def __init__(
        self,
        directory: str,
        journal: Journal,
        *,
        settle_seconds: float,
        pattern: str = "*",
        directory_products: Sequence[str] = DIRECTORY_PRODUCTS,
        clock: Callable[[], float],
        tell: Callable[[UploadResult], None] | None = None,
    ) -> None:
        self._directory = directory
        self._journal = journal
        self._settle_seconds = settle_seconds
        self._pattern = pattern
        self._directory_products = directory_products
        self._clock = clock
        self._tell = tell or (lambda _result: None)
        self._since: dict[str, tuple[str, float]] = {
            entry.path: (entry.identity, clock()) for entry in journal.in_state(State.SEEN)
        }

    def scan(self) -> None:
        """Look once. Raises LibrarianError when the directory is not there: that says nothing of what was in it."""
        if not os.path.isdir(self._directory):
            raise LibrarianError(
                f"The watched directory {self._directory} is not there.",
                remedy="Mount or create it.",
                code="directory_missing",
            )
        growing = set(self._since)
        products = self._find()
        while batch := list(islice(products, BATCH)):
            growing -= {product.destination for product in batch}
            self._look_at(batch)
        self._journal.forget(growing)
        for path in growing:
            del self._since[path]
        self._journal.move(list(self._given_up()), State.VANISHED)

    def _given_up(self) -> Iterator[str]:
        """Products that nothing more is tried with, and that somebody took away since."""
        for entry in self._journal.in_state(State.FAILED, State.CONFLICT):
            is_waiting = entry.state == State.FAILED and not entry.identity.startswith("problem:")
            if not is_waiting and not os.path.lexists(os.path.join(self._directory, entry.path)):
                yield entry.path

    def _find(self) -> Iterator[Product]:
        return products_below(
            self._directory,
            pattern=self._pattern,
            directory_products=self._directory_products,
            never_into=[str(self._journal.spool)],
        )

    def _look_at(self, batch: list[Product]) -> None:
        known = self._journal.look_up([product.destination for product in batch])
        changed: list[tuple[str, str, int]] = []
        settled: list[str] = []
        refused: list[tuple[str, State, UploadResult]] = []
        for product in batch:
            try:
                identity, size_bytes = self._identity(product)
            except FileNotFoundError:
                continue  # moved away while we looked
            except LocalProblem as problem:
                identity, size_bytes = f"problem:{problem.reason}", 0
                if self._is_news(known.get(product.destination), identity):
                    refused.append((product.destination, State.FAILED, _refusal(product, problem)))
            self._judge(product.destination, identity, size_bytes, known.get(product.destination), changed, settled)
        if changed:
            self._journal.note_seen(changed)
        if settled:
            self._journal.move(settled, State.SETTLED)
        if refused:
            self._journal.note_results(refused)
        for _, _, result in refused:
            self._tell(result)

    def _identity(self, product: Product) -> tuple[str, int]:
        if product.problem:
            reason = f"{product.path} cannot be delivered: {product.problem}."
            raise LocalProblem("unsafe_product", reason, "Replace it by a file or a directory that can be read.")
        return product_identity(product.path)

    @staticmethod
    def _is_news(entry: Entry | None, identity: str) -> bool:
        return entry is None or entry.identity != identity or entry.state == State.VANISHED

    def _judge(
        self,
        path: str,
        identity: str,
        size_bytes: int,
        entry: Entry | None,
        changed: list[tuple[str, str, int]],
        settled: list[str],
    ) -> None:
        is_problem = identity.startswith("problem:")
        if self._is_news(entry, identity):
            changed.append((path, identity, size_bytes))
            if is_problem:
                self._since.pop(path, None)
            else:
                self._since[path] = (identity, self._clock())
        elif entry is not None and entry.state == State.SEEN and not is_problem:
            before, since = self._since.setdefault(path, (identity, self._clock()))
            if before != identity:
                self._since[path] = (identity, self._clock())
            elif self._clock() - since >= self._settle_seconds:
                settled.append(path)
                del self._since[path]


def is_unchanged(directory: str, entry: Entry) -> bool:
    """Whether a product is still what the journal knows. Raises FileNotFoundError when it is gone."""
    try:
        return product_identity(os.path.join(directory, entry.path))[0] == entry.identity
    except LocalProblem:
        return False


def _refusal(product: Product, problem: LocalProblem) -> UploadResult:
    return UploadResult(
        product.path, outcome=FAILED, code=problem.code, reason=problem.reason, remedy=problem.suggested_remedy
    )
