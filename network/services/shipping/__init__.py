"""Disks that travel: what lies on one is listed, sealed, followed on its way, and wanted again when it is lost.

The copies are made by files.services.copying; what arrives at the other site is confirmed by its ordinary callbacks.
"""

from network.services.shipping.custody import add_note, hand_over, note_received
from network.services.shipping.following import follow_shipments
from network.services.shipping.losing import note_lost
from network.services.shipping.manifest import ManifestEntry, contents_of, manifest_path
from network.services.shipping.packing import pack

__all__ = [
    "ManifestEntry",
    "add_note",
    "contents_of",
    "follow_shipments",
    "hand_over",
    "manifest_path",
    "note_lost",
    "note_received",
    "pack",
]
