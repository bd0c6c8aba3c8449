"""Whom we trade with, what is to be sent, and the files on their way."""

from network.models.incoming import IncomingTransfer, ReportState
from network.models.order import OrderWay, StandingOrder
from network.models.outgoing import OutgoingTransfer
from network.models.peer import PEER_NAME, Peer
from network.models.queue import QueueState, SendQueueItem
from network.models.shipment import SHIPMENT_LIVE, CustodyStep, Shipment, ShipmentState
from network.models.states import ENDED, GIVEN_UP, LIVE, TransferState

__all__ = [
    "ENDED",
    "GIVEN_UP",
    "LIVE",
    "PEER_NAME",
    "SHIPMENT_LIVE",
    "CustodyStep",
    "IncomingTransfer",
    "OrderWay",
    "OutgoingTransfer",
    "Peer",
    "QueueState",
    "ReportState",
    "SendQueueItem",
    "Shipment",
    "ShipmentState",
    "StandingOrder",
    "TransferState",
]
