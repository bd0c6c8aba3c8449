"""Changes of the network: whom we know, whether we can reach them, under which name and keys."""

from network.services.connections import Connection, check_peer, check_peers, try_connection
from network.services.keys import Rotation, rotate_secrets
from network.services.naming import fix_site_name, refuse_changed_name
from network.services.peers import add_peer, edit_peer, set_transfers_enabled
from network.services.removal import remove_peer
from network.services.sending_options import set_sending_options

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
