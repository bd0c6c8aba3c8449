"""Emptying stores: every file gets a verified copy elsewhere, then its copy on the store may go. Nothing is erased.

`acts`: what people do. `running`: the job. `evidence`: which other copies count. `progress`: how far it is.
"""

from files.services.offloading.acts import (
    OffloadOver,
    OffloadRunning,
    pause_offload,
    resume_offload,
    start_offload,
    stop_offload,
)
from files.services.offloading.progress import OffloadProgress, left_on, progress_of
from files.services.offloading.running import run_offloads

__all__ = [
    "OffloadOver",
    "OffloadProgress",
    "OffloadRunning",
    "left_on",
    "pause_offload",
    "progress_of",
    "resume_offload",
    "run_offloads",
    "start_offload",
    "stop_offload",
]
