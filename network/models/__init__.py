"""Whom we trade with, what is to be sent, and the files on their way."""

from network.models.incoming import IncomingTransfer, ReportState
from network.models.order import StandingOrder
from network.models.outgoing import OutgoingTransfer
from network.models.peer import PEER_NAME, Peer
from network.models.queue import QueueState, SendQueueItem
from network.models.states import ENDED, GIVEN_UP, LIVE, TransferState

__all__ = [
    "ENDED",
    "GIVEN_UP",
    "LIVE",
    "PEER_NAME",
    "IncomingTransfer",
    "OutgoingTransfer",
    "Peer",
    "QueueState",
    "ReportState",
    "SendQueueItem",
    "StandingOrder",
    "TransferState",
]
