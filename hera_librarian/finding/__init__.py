"""Finding files and getting their bytes: searches, results, files read by range, verified downloads."""

from hera_librarian.finding.downloads import download_files
from hera_librarian.finding.outcomes import DownloadResult
from hera_librarian.finding.remote_file import RemoteFile
from hera_librarian.finding.results import FileResult, InstanceResult, Member, file_named
from hera_librarian.finding.search import Search, search

__all__ = [
    "DownloadResult",
    "FileResult",
    "InstanceResult",
    "Member",
    "RemoteFile",
    "Search",
    "download_files",
    "file_named",
    "search",
]
