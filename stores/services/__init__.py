"""Changes of stores: choosing one for new bytes, measuring, adding, editing, switching, testing."""

from stores.services.choosing import Room, choose_store, look_for_room, note_written
from stores.services.keeping import add_store, check_new_store, edit_store, set_store_enabled, write_marker
from stores.services.measuring import measure_store, measure_stores, thin_space_readings
from stores.services.testing import Finding, test_store

__all__ = [
    "Finding",
    "Room",
    "add_store",
    "check_new_store",
    "choose_store",
    "edit_store",
    "look_for_room",
    "measure_store",
    "measure_stores",
    "note_written",
    "set_store_enabled",
    "test_store",
    "thin_space_readings",
    "write_marker",
]
