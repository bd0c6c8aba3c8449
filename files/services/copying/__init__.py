"""Copies between our own stores: wanted by an order, an offload or a person, made by one job, one row a file.

`wishes`: what is wanted, given up, wanted again. `running`: the job. `batches`: the bytes of a few files on their way
to one store. `sources`, `destinations`: from where and to where. `outcomes`: how a copy ended or why it waits.
"""

from files.services.copying.outcomes import CopyOver
from files.services.copying.running import copy_files
from files.services.copying.tidying import forget_old_copies
from files.services.copying.wishes import cancel_copy, cancel_group, retry_copy, want_copies

__all__ = [
    "CopyOver",
    "cancel_copy",
    "cancel_group",
    "copy_files",
    "forget_old_copies",
    "retry_copy",
    "want_copies",
]
