"""What changes on this floor, by rooms; here stands what other floors and pages of staff call.

`peering`: the sites that we know. `sending`: what we bring them. `receiving`: what they bring us. `hearing`: what they
say about either. `transfers`: the moves that all of these make.
"""

from network.services.peering.connections import Connection, check_peer, check_peers, try_connection
from network.services.peering.keys import Rotation, rotate_secrets
from network.services.peering.naming import fix_site_name, refuse_changed_name
from network.services.peering.peers import add_peer, edit_peer, set_transfers_enabled
from network.services.peering.removal import remove_peer
from network.services.peering.sending_options import set_sending_options

__all__ = [
    "Connection",
    "Rotation",
    "add_peer",
    "check_peer",
    "check_peers",
    "edit_peer",
    "fix_site_name",
    "refuse_changed_name",
    "remove_peer",
    "rotate_secrets",
    "set_sending_options",
    "set_transfers_enabled",
    "try_connection",
]
