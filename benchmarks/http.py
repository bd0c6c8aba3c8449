"""HTTP both ways: one large file against `cp` and against nginx, many small files one by one and as tar batches."""

import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.memory import PeakMemory
from benchmarks.report import Figure, print_table
from benchmarks.sites import process_ids, running_site
from files.samples.small import write_small_files
from hera_librarian import LibrarianClient
from hera_librarian.authenticator import authorization_header
from tests.rig.processes import free_port, wait_for
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site
from tests.tus import OFFSET_TYPE, creation

LARGE_BYTES = 2 * 2**30
SPARSE_BYTES = 20 * 2**30
SMALL_COUNT = 10_000
SMALL_BYTES = 4096


def measure(folder: Path, *, scale: float) -> None:
    """Our client, and plain requests, against the web processes of a production site, everything on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_site(folder / "site", cluster=True) as site:
        client = LibrarianClient("http://127.0.0.1", site.port, ADMIN, ADMIN_PASSWORD)
        _measure_large(folder, site, client, int(LARGE_BYTES * scale))
        _measure_small(folder, site, client, int(SMALL_COUNT * scale))
        _measure_memory(folder, site, client, int(SPARSE_BYTES * scale))


# --- One large file ---------------------------------------------------------------------------------------------------


def _measure_large(folder: Path, site: Site, client: LibrarianClient, size_bytes: int) -> None:
    source = folder / "zen.2459122.00001.sum.uvh5"
    _write(source, size_bytes)
    _run(f"cp '{source}' '{folder}/level' && sync -f '{folder}/level' && rm '{folder}/level'")
    copied = _run(f"cp '{source}' '{folder}/copy' && sync -f '{folder}/copy'")
    with PeakMemory(lambda: {**process_ids(site), "client": os.getpid()}) as memory:
        began = time.monotonic()
        client.upload(source, source.name, way="http")
        up = time.monotonic() - began
        plain = _upload_plainly(site, source, "plain.uvh5")
        (folder / "got").mkdir()
        began = time.monotonic()
        (result,) = client.download([source.name], folder / "got")
        down = time.monotonic() - began
        assert result.ok, result.reason
    url = f"{site.url}/api/v3/files/{source.name}/content"
    down_by_curl = _run(f"curl -sf -u '{ADMIN}:{ADMIN_PASSWORD}' -o /dev/null '{url}'")
    with _nginx(folder, source.parent) as served:
        from_nginx = _run(f"curl -sf -o /dev/null '{served}/{source.name}'")
        kept_from_nginx = _run(f"curl -sf -o '{folder}/copy' '{served}/{source.name}' && sync -f '{folder}/copy'")
    megabytes = size_bytes / 1e6
    rows = [
        Figure("cp && sync -f", megabytes / copied, "MB/s"),
        Figure("upload, our client", megabytes / up, "MB/s", copied / up, "of cp's speed"),
        Figure("upload, one plain request", megabytes / plain, "MB/s", copied / plain, "of cp's speed"),
        Figure("nginx serving the same file to curl", megabytes / from_nginx, "MB/s"),
        Figure("download, curl", megabytes / down_by_curl, "MB/s", from_nginx / down_by_curl, "of nginx's speed"),
        Figure("nginx to curl, kept on disk", megabytes / kept_from_nginx, "MB/s"),
        Figure(
            "download, our client (verified, on disk)",
            megabytes / down,
            "MB/s",
            kept_from_nginx / down,
            "of nginx's speed kept",
        ),
        *(Figure(f"peak memory, {label}", size / 1e6, "MB") for label, size in memory.peaks.items()),
    ]
    print_table(f"HTTP, one file of {size_bytes / 2**30:.2f} GiB", rows)
    for path in (source, folder / "copy"):
        path.unlink()
    shutil.rmtree(folder / "got")


def _upload_plainly(site: Site, source: Path, name: str) -> float:
    """One request that sends the file and hashes nothing: what the server alone can take."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=600, blocksize=2**20)
    headers = {
        "Authorization": authorization_header(f"{ADMIN}:{ADMIN_PASSWORD}"),
        **creation(source.stat().st_size, filename=name),
        "Content-Type": OFFSET_TYPE,
        "Content-Length": str(source.stat().st_size),
    }
    began = time.monotonic()
    with source.open("rb") as body:
        connection.request("POST", "/api/v3/uploads/", body=body, headers=headers)
        answer = connection.getresponse()
    if answer.status != 201:
        raise RuntimeError(f"the upload was answered {answer.status}: {answer.read()!r}")
    return time.monotonic() - began


@contextmanager
def _nginx(folder: Path, root: Path) -> Iterator[str]:
    """nginx with its defaults for files: sendfile, one process a core."""
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes auto; user root;\n"
        f"events {{}} http {{ access_log off; sendfile on; client_body_temp_path {folder}/body; "
        f"proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; "
        f"scgi_temp_path {folder}/s; server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(configuration)])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(
            lambda: subprocess.run(["curl", "-s", "-o", "/dev/null", url], check=False).returncode == 0,
            timeout_seconds=20,
            what="nginx",
        )
        yield url
    finally:
        process.terminate()
        process.wait()


# --- Many small files -------------------------------------------------------------------------------------------------


def _measure_small(folder: Path, site: Site, client: LibrarianClient, count: int) -> None:
    from hera_librarian.uploading import upload_many, upload_path

    singles, batched = folder / "singles", folder / "batched"
    for number, tree in enumerate((singles, batched)):
        tree.mkdir()
        write_small_files(tree, count, SMALL_BYTES, seed=number, first_jd=2459122 + 100 * number)
    with PeakMemory(lambda: process_ids(site)) as memory:
        began = time.monotonic()
        for path in _files(singles):
            assert upload_path(client, path, path.name, way="http").ok
        one_by_one = count / (time.monotonic() - began)
        began = time.monotonic()
        results = list(upload_many(client, ((path, path.name) for path in _files(batched)), way="http"))
        by_tar = count / (time.monotonic() - began)
    assert len(results) == count
    assert all(result.ok for result in results)
    rows = [
        Figure("one request each, one client", one_by_one, "files/s"),
        Figure("as tar batches", by_tar, "files/s", by_tar / one_by_one, "single", ">= 1,000", by_tar >= 1000),
        *(Figure(f"peak memory, {label}", size / 1e6, "MB") for label, size in memory.peaks.items()),
    ]
    print_table(f"HTTP, {count:,} files of 4 KiB, SQLite", rows)


def _files(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file())


# --- Memory -----------------------------------------------------------------------------------------------------------


def _measure_memory(folder: Path, site: Site, client: LibrarianClient, size_bytes: int) -> None:
    """A sparse file that no memory holds; its bytes are sent and stored like any others."""
    free = shutil.disk_usage(folder).free
    if free < 1.5 * size_bytes:
        print(f"\nLeft out: {size_bytes / 2**30:.0f} GiB sparse; only {free / 2**30:.0f} GiB are free at {folder}.")
        return
    source = folder / "sparse.uvh5"
    with source.open("wb") as file:
        file.truncate(size_bytes)
    with PeakMemory(lambda: {**process_ids(site), "client": os.getpid()}) as memory:
        began = time.monotonic()
        client.upload(source, source.name, way="http")
        took = time.monotonic() - began
    rows = [Figure("upload, our client", size_bytes / 1e6 / took, "MB/s")]
    rows += [Figure(f"peak memory, {label}", size / 1e6, "MB") for label, size in memory.peaks.items()]
    print_table(f"HTTP, one sparse file of {size_bytes / 2**30:.0f} GiB", rows)


# --- Tools ------------------------------------------------------------------------------------------------------------


def _write(path: Path, size_bytes: int) -> None:
    block = os.urandom(2**24)
    with path.open("wb") as stream:
        for number in range(max(1, size_bytes // len(block))):
            stream.write(number.to_bytes(8) + block[8:])
    os.sync()


def _run(command: str) -> float:
    began = time.monotonic()
    subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began
