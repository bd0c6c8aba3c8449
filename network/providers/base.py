"""The contract of a provider: one way to bring the bytes of a batch to the staging locations that a peer named.

Providers have no state and touch no rows: a job hands them plain data and writes down what they answer. Trouble with
one file is that file's Outcome and its neighbours go on; trouble that kept everything from beginning is CouldNotStart,
and then another provider may be tried. A provider may use threads; those use no database, and what it was given to run
with (`Sending`) is only called from the thread that iterates over `send`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from hera_librarian.uploading.pace import Pace
from librarian.common.errors import ArchiveError
from network.models import Peer
from stores.backends.base import Kind, Member, StoreBackend

Offer = Mapping[str, Any]
ASKED_EVERY_SECONDS = 1.0


class CouldNotStart(ArchiveError):
    """Nothing of the batch was begun: the provider cannot be used with this peer now."""

    code = "provider_could_not_start"
    status = HTTPStatus.BAD_GATEWAY
    remedy = "The peer's page says which providers it has; mend this one, or put another first."
    passing = True

    @classmethod
    def because_of(cls, problem: ArchiveError) -> "CouldNotStart":
        """The same said of a provider, under the problem's own code."""
        error = cls(problem.reason, remedy=problem.suggested_remedy)
        error.code, error.passing = problem.code, problem.passing
        return error


@dataclass(frozen=True, slots=True)
class SourceCopy:
    """The copy that is sent: its place on a store, and where this machine finds it as a file (None: nowhere)."""

    backend: StoreBackend
    place: str
    location: str | None


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file on its way.

    `members` are the entries of a directory product in the order of its tree digest
    (`network.providers.streams.members_of_product`); they may be iterated in any thread, more than once.
    """

    transfer_id: int
    file_name: str
    source: SourceCopy
    destination_path: str
    upload_id: int | None
    size_bytes: int
    kind: Kind
    members: Iterable[Member] | None = None  # of a flat file none, whatever stands here

    def __post_init__(self) -> None:
        if self.kind == "directory" and self.members is None:
            raise ValueError(f"{self.file_name} is a directory product and comes without its members")

    @property
    def is_directory(self) -> bool:
        return self.kind == "directory"

    @property
    def entries(self) -> Iterable[Member]:
        """The members of a directory product; none of a flat file."""
        return (self.members or ()) if self.is_directory else ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one parcel: over there whole (`ok`), or why not. `passing`: it may work at the next attempt.

    `is_waiting`: nothing failed and no attempt was made in vain; a service moves the bytes by itself, or has no room
    for them yet, and is to be asked again.
    """

    transfer_id: int
    code: str = ""
    reason: str = ""
    remedy: str = ""
    passing: bool = False
    is_waiting: bool = False

    @property
    def ok(self) -> bool:
        """All its bytes are over there."""
        return not self.code


@dataclass(slots=True)
class Sending:
    """What a provider is given while it runs.

    Parameters
    ----------
    progress : callable
        Told, as often as it likes, the id of a transfer and how many bytes of its file are over there by now.
    keep_going : callable
        False once it shall end: switched off, cancelled or out of time. Asked about once a second.
    deadline : float
        When it must end, in seconds of `time.monotonic`.
    pace : Pace, optional
        The limit of bandwidth.
    task_id : str
        What a service of another site does for this batch since an earlier run, as it was remembered; empty: nothing.
    note_task : callable, optional
        Told what to keep of it for the next run.
    """

    progress: Callable[[int, int], None]
    keep_going: Callable[[], bool]
    deadline: float
    pace: Pace | None = None
    task_id: str = ""
    note_task: Callable[[str], None] | None = None
    _goes_on: bool = field(default=True, init=False)
    _asked_at: float = field(default=0.0, init=False)

    def goes_on(self) -> bool:
        """False once the provider shall end; what is not over there then is left as `stopped` says."""
        now = time.monotonic()
        if self._goes_on and now - self._asked_at >= ASKED_EVERY_SECONDS:
            self._goes_on, self._asked_at = self.keep_going(), now
        return self._goes_on and now < self.deadline

    def remember(self, task_id: str) -> None:
        """Keep the id of what a service does for this batch, before it matters; empty once that is over."""
        if self.note_task is not None:
            self.note_task(task_id)
        self.task_id = task_id


class Provider(ABC):
    """One way to move bytes."""

    name: str

    @abstractmethod
    def offered_as(self, offer: Offer) -> bool:
        """True if the offer is one for this provider; its shape tells, for labels on the wire say nothing."""

    @abstractmethod
    def why_not(self, peer: Peer, offer: Offer) -> str | None:
        """A sentence that says why it cannot be used with this peer and offer; None when it can."""

    @abstractmethod
    def send(self, peer: Peer, offer: Offer, parcels: Sequence[Parcel], sending: Sending) -> Iterator[Outcome]:
        """Send the parcels and yield the outcome of each as it is settled, one for every parcel.

        What a former attempt left over there is gone on with. Raises CouldNotStart before the first outcome, when
        nothing could be begun; anything else that it raises is a mistake in the code.
        """

    def abandon(self, task_id: str) -> None:  # noqa: B027  most leave nothing behind that goes on
        """End what a service still does for a batch that nobody wants any more, as far as that works. Never raises."""


def sent(parcel: Parcel) -> Outcome:
    """All bytes of it are over there."""
    return Outcome(parcel.transfer_id)


def failed(
    parcel: Parcel, problem: ArchiveError | None = None, *, code: str = "", reason: str = "", remedy: str = "",
    passing: bool = False,
) -> Outcome:  # fmt: skip
    """The outcome that an error means for one parcel, or that its words say."""
    if problem is not None:
        return Outcome(
            parcel.transfer_id, problem.code, problem.reason, problem.suggested_remedy, passing=problem.passing
        )
    return Outcome(parcel.transfer_id, code, reason, remedy, passing=passing)


def waiting(parcel: Parcel, *, code: str, reason: str, remedy: str = "") -> Outcome:
    """Nothing failed: it is to be asked again later how far it is."""
    return Outcome(parcel.transfer_id, code, reason, remedy, passing=True, is_waiting=True)


def stopped(parcel: Parcel) -> Outcome:
    """It was not over there when the provider was told to end."""
    return failed(
        parcel,
        code="sending_stopped",
        reason="Sending was stopped before this file was over there.",
        remedy="It goes on by itself where it ended, unless it was cancelled or the peer is switched off.",
        passing=True,
    )
