"""Rows of the archive itself. Read `file.py` first."""

from files.models.corruption import CorruptInstance
from files.models.event import EventHead, FileEvent
from files.models.facts import FileFacts
from files.models.file import File, FileKind, FileMember
from files.models.instance import Condition, DeletionPolicy, Instance, Presence
from files.models.observation import Observation
from files.models.offload import OFFLOAD_LIVE, Offload, OffloadState
from files.models.remote_instance import RemoteInstance
from files.models.session import ObservingSession
from files.models.store_copy import COPY_LIVE, CopyState, StoreCopy
from files.models.upload import Upload, UploadContent, UploadKind, UploadState
from files.models.watch import WatchedPath, WatchFolder

__all__ = [
    "COPY_LIVE",
    "OFFLOAD_LIVE",
    "Condition",
    "CopyState",
    "CorruptInstance",
    "DeletionPolicy",
    "EventHead",
    "File",
    "FileEvent",
    "FileFacts",
    "FileKind",
    "FileMember",
    "Instance",
    "Observation",
    "ObservingSession",
    "Offload",
    "OffloadState",
    "Presence",
    "RemoteInstance",
    "StoreCopy",
    "Upload",
    "UploadContent",
    "UploadKind",
    "UploadState",
    "WatchFolder",
    "WatchedPath",
]
