"""Handing products over to an archive: resumable, hashed while they are sent, over HTTP or a shared disk."""

from hera_librarian.uploading.calls import upload_many, upload_path
from hera_librarian.uploading.memory import Memory
from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.patience import Patience
from hera_librarian.uploading.products import DIRECTORY_PRODUCTS, find_products
from hera_librarian.uploading.results import Progress, UploadResult

__all__ = [
    "DIRECTORY_PRODUCTS",
    "Memory",
    "Pace",
    "Patience",
    "Progress",
    "UploadResult",
    "find_products",
    "upload_many",
    "upload_path",
]
