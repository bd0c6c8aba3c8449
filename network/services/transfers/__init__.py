"""The moves of transfers, as everybody makes them: peers by their calls, jobs, people. One file per side."""

from network.services.transfers.incoming import cancel_incoming, complete_incoming, fail_incoming
from network.services.transfers.moves import move_transfer
from network.services.transfers.outgoing import (
    cancel_outgoing,
    complete_many,
    complete_outgoing,
    fail_outgoing,
    retry_outgoing,
)
from network.services.transfers.remote_copies import drop_remote_instance, note_remote_instance
from network.services.transfers.retries import Retry
from network.services.transfers.wishes import ask_for_transfers

__all__ = [
    "Retry",
    "ask_for_transfers",
    "cancel_incoming",
    "cancel_outgoing",
    "complete_incoming",
    "complete_many",
    "complete_outgoing",
    "drop_remote_instance",
    "fail_incoming",
    "fail_outgoing",
    "move_transfer",
    "note_remote_instance",
    "retry_outgoing",
]
