"""The watcher itself: look, deliver, rest, until somebody stops it.

Every step is written into the journal before and after, so it may be killed anywhere. A site that is away, and an
account that may no longer upload, stop deliveries for a while and nothing else; a product that cannot be delivered
waits for itself alone.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hera_librarian.deletion import DeletionPolicy
from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.uploading import Pace, Patience, UploadResult, upload_many
from hera_librarian.uploading.patience import next_pause
from hera_librarian.uploading.products import DIRECTORY_PRODUCTS
from hera_librarian.watching.answers import Answers, Telling
from hera_librarian.watching.journal import DUE, Entry, Journal, State, now_text
from hera_librarian.watching.memory import JournalMemory
from hera_librarian.watching.scanning import Scanner, is_unchanged
from hera_librarian.watching.site import LONGEST_PAUSE_SECONDS, Site, trouble_of
from hera_librarian.watching.spool import holding, make_spool
from hera_librarian.watching.status import read_status
from hera_librarian.watching.stopping import Stopped, Stopping, stopping_on_signals

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

CHUNK_PRODUCTS = 2000
CHUNK_BYTES = 2**30
PATIENCE_SECONDS = 60.0  # with one upload, before the site counts as away
OWN_DISK_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0
SCAN_SHARE = 0.1  # at most this share of the time goes into looking
KEEP_DAYS = 90.0
PRUNE_SECONDS = 3600.0
SITE_CODES = ("no_store_available", "store_unavailable", "store_full", "no_http_upload")
REFUSALS_IN_A_ROW = 5  # for one of those reasons: then it is the site
logger = logging.getLogger(__name__)


class Watcher:
    """Delivers what appears in a directory, exactly once.

    Parameters
    ----------
    directory : path
        Watched with everything below it. A product is filed by its path relative to it.
    new_client : callable
        Makes a client of the site; called again after trouble, so that renewed credentials are read.
    spool : path
        The watcher's own directory on a local disk; one watcher each.
    settle_seconds : float
        How long a product must have been unchanged before it is delivered.
    interval_seconds : float
        Pause between two looks; longer where a look itself takes long.
    pattern : str
        Shell pattern for the last component. Names that begin with a dot are passed over.
    directory_products : sequence of str
        Shell patterns of directories that are one product each, besides MIRIAD datasets.
    pace : Pace, optional
        Limit of bandwidth.
    tell : callable, optional
        Is given the answer for each product.
    clock : callable
        Seconds on a clock that never steps back.

    Nothing is ever removed from the directory.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        new_client: Callable[[], "LibrarianClient"],
        spool: str | os.PathLike[str],
        *,
        settle_seconds: float = 60.0,
        interval_seconds: float = 5.0,
        pattern: str = "*",
        directory_products: Sequence[str] = DIRECTORY_PRODUCTS,
        deletion_policy: DeletionPolicy = DeletionPolicy.DISALLOWED,
        null_obsid: bool = False,
        obsid: int | None = None,
        uploader: str | None = None,
        way: str = "auto",
        pace: Pace | None = None,
        tell: Callable[[UploadResult], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = os.path.realpath(directory)
        self.spool = make_spool(spool)
        self._new_client = new_client
        self._settle_seconds = settle_seconds
        self._interval_seconds = interval_seconds
        self._looking = {"settle_seconds": settle_seconds, "pattern": pattern, "directory_products": directory_products}
        self._wishes = {"deletion_policy": deletion_policy, "null_obsid": null_obsid, "obsid": obsid}
        self._wishes |= {"uploader": uploader, "way": way, "pace": pace}
        self._tell = tell or (lambda _result: None)
        self._clock = clock
        self._stopping = Stopping()
        self._site = Site(new_client, clock)
        self._not_before: dict[str, float] = {}  # of products that failed
        self._look_at = clock()

    def run(self, *, once: bool = False) -> dict[str, Any]:
        """Watch until stopped, by `stop` or a signal; `once`: deliver what is there now and end. Returns the status.

        Raises LibrarianError (`spool_in_use`, `spool_unusable`); with `once` also what keeps the site from being
        reached: LibrarianTimeoutError, LibrarianHTTPError.
        """
        with holding(self.spool), Journal(self.spool) as journal:
            self._journal = journal
            self._scanner = Scanner(self.directory, journal, clock=self._clock, tell=self._tell, **self._looking)
            try:
                with stopping_on_signals(self._stopping):
                    journal.note(directory=self.directory, trouble=None, sending=None)
                    self._run_once() if once else self._run_on()
            except Stopped:
                pass  # everything that matters is in the journal
            journal.note(sending=None)
        return self.status()

    def stop(self) -> None:
        """End soon; may be called from any thread."""
        self._stopping.wish()

    def status(self) -> dict[str, Any]:
        """How it is doing, as plain data: see `read_status`."""
        return read_status(self.spool)

    # --- Rounds -------------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        self._scanner.scan()
        self._stopping.sleep(self._settle_seconds)
        self._scanner.scan()
        while self._deliver(raises=True):
            pass

    def _run_on(self) -> None:
        prune_at = self._clock()
        while True:
            try:
                if self._clock() >= prune_at:
                    self._journal.prune(self.directory, keep_days=KEEP_DAYS)
                    prune_at = self._clock() + PRUNE_SECONDS
                busy = self._round()
            except (sqlite3.OperationalError, OSError) as problem:  # the instrument's own disk is full or fails
                logger.error("The watcher of %s cannot go on for now: %s", self.directory, problem)
                self._stopping.sleep(OWN_DISK_SECONDS)
                continue
            self._stopping.sleep(0 if busy else self._interval_seconds)

    def _round(self) -> bool:
        """Look if it is time to, deliver some of what is due; True if there may be more to deliver at once."""
        try:
            if self._clock() >= self._look_at:
                began = time.perf_counter()
                self._scanner.scan()
                self._note_scan(time.perf_counter() - began)
            return self._site.is_due() and self._deliver()
        except LibrarianError as problem:  # the directory is away
            self._journal.note(directory_trouble=trouble_of(problem))
            return False

    def _note_scan(self, took_seconds: float) -> None:
        """Look again after a while, and never spend most of the time looking."""
        pause = min(took_seconds / SCAN_SHARE, LONGEST_PAUSE_SECONDS)
        self._look_at = self._clock() + max(self._interval_seconds, pause)
        self._journal.note(scanned_at=now_text(), scan_seconds=round(took_seconds, 3), directory_trouble=None)

    def _deliver(self, *, raises: bool = False) -> bool:
        """Deliver a chunk of what is due; False when nothing was."""
        chunk = {os.path.join(self.directory, entry.path): entry for entry in self._due()}
        if not chunk:
            return False
        self._journal.move((entry.path for entry in chunk.values()), State.SENDING)
        answers = Answers(self._journal, self._settled_by)
        try:
            self._send(chunk, answers)
            self._site.works()
            self._journal.note(trouble=None)
        except (LibrarianError, LibrarianHTTPError) as problem:
            pause = self._site.fails(problem)
            self._journal.note(trouble=trouble_of(problem, pause))
            logger.warning("Nothing is handed over for now: %s Tried again in %.0f s.", problem.reason, pause)
            if raises:
                raise
        finally:
            answers.write()
            self._journal.move(answers.unanswered(entry.path for entry in chunk.values()), State.SETTLED)
            self._journal.note(sending=None)
        return True

    def _send(self, chunk: dict[str, Entry], answers: Answers) -> None:
        told = Telling(self._journal, self._stopping, self._clock)
        in_a_row = 0
        for result in upload_many(
            self._site.client(),
            told.items(chunk),
            memory=JournalMemory(self._journal),
            progress=told.progress,
            new_patience=lambda: Patience(PATIENCE_SECONDS, clock=self._clock, sleep=self._stopping.sleep),
            **self._wishes,
        ):
            if result.path in chunk:  # else it was replaced by a link just now, which the next look finds
                answers.add(chunk[result.path], result)
            self._tell(result)
            in_a_row = in_a_row + 1 if result.code in SITE_CODES else 0
            if in_a_row >= REFUSALS_IN_A_ROW:
                raise LibrarianError(result.reason, remedy=result.remedy, code=result.code)

    # --- Products -----------------------------------------------------------------------------------------------------

    def _due(self) -> list[Entry]:
        """The next products to deliver, those known longest first; checked to be still what they were."""
        due: list[Entry] = []
        size_bytes = 0
        for entry in self._journal.in_state(*DUE):
            if self._clock() < self._not_before.get(entry.path, 0.0) or entry.identity.startswith("problem:"):
                continue
            if due and (len(due) >= CHUNK_PRODUCTS or size_bytes + entry.size_bytes > CHUNK_BYTES):
                break
            if self._is_still(entry):
                due.append(entry)
                size_bytes += entry.size_bytes
        return due

    def _is_still(self, entry: Entry) -> bool:
        try:
            if is_unchanged(self.directory, entry):
                return True
            self._journal.move([entry.path], State.SEEN)
        except FileNotFoundError:
            if os.path.isdir(self.directory):
                self._journal.move([entry.path], State.VANISHED)
        return False

    def _settled_by(self, entry: Entry, result: UploadResult) -> State:
        """State that the answer for a product leads to."""
        self._not_before.pop(entry.path, None)
        if result.ok:
            return State.DELIVERED
        if result.code == "name_taken":
            return State.CONFLICT
        if result.code in ("changed_while_read", "changed_meanwhile", "missing_bytes"):
            return State.SEEN  # the next look tells
        longest = LONGEST_PAUSE_SECONDS if result.code in SITE_CODES else LONGEST_RETRY_SECONDS
        self._not_before[entry.path] = self._clock() + next_pause(entry.attempts, first=10.0, longest=longest)
        return State.FAILED
