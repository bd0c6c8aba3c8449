"""The figures of `benchmarks.stores`: run as `python -m benchmarks.store_rates FOLDER SCALE` in its environment."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import django

django.setup()

from benchmarks.report import Figure, print_table  # noqa: E402  needs the settings above
from librarian.common.ssh import remote_shell  # noqa: E402
from network.models import Peer  # noqa: E402
from network.providers.base import Parcel, Sending, SourceCopy  # noqa: E402
from network.providers.rsync import RsyncProvider  # noqa: E402
from stores.backends.base import new_token  # noqa: E402
from stores.models import Store  # noqa: E402
from tests.rig.sshd import HOST  # noqa: E402

LARGE_BYTES = 2**30
NAME = "zen.2459122.00001.sum.uvh5"
BUCKET = "bench"
CONFIG = os.environ["LIBRARIAN_SSH_CONFIG"]
ROUNDS = 3


def main(folder: Path, scale: float) -> None:
    """One large file there and back, each way."""
    size_bytes = max(2**20, int(LARGE_BYTES * scale))
    here = _posix(folder)
    source = folder / "here" / NAME
    _write(source, size_bytes)
    print_table(f"Store over ssh, one file of {size_bytes / 2**20:.0f} MiB", _over_ssh(folder, here, source))
    print_table(f"Store in a bucket, one file of {size_bytes / 2**20:.0f} MiB (moto)", _in_bucket(folder, source))


# --- ssh --------------------------------------------------------------------------------------------------------------


def _over_ssh(folder: Path, here: Store, source: Path) -> Iterator[Figure]:
    far = folder / "far"
    far.mkdir()
    store = Store(name="far", kind="ssh", configuration={"host": HOST, "root": str(far / "root")})
    store.backend.initialise()
    rsync = ["rsync", "-e", remote_shell(CONFIG)]
    with _placed(store, source) as place:
        best = _best(
            source.stat().st_size / 1e6,
            {
                "there": _Run(lambda: _run(*rsync, str(source), f"{HOST}:{far}/plain"), far / "plain"),
                "provider": _Run(lambda: _send(here, source, far / "sent"), far / "sent"),
                "write_item": _Delivery(store, lambda token: _write_item(store, token, source)),
                "copy_in": _Delivery(store, lambda token: _copy_in(store, token, source)),
                "back": _Run(lambda: _run(*rsync, f"{HOST}:{far}/root/{place}", f"{folder}/back"), folder / "back"),
                "read": _Run(lambda: _read(store, place)),
                "digest": _Run(lambda: store.backend.digest(place, ["xxh3"])),
            },
        )
    there, back = best["there"], best["back"]
    yield Figure("rsync -e ssh, there", there, "MB/s")
    yield Figure("rsync provider", best["provider"], "MB/s", best["provider"] / there, "of rsync's speed")
    for name in ("write_item", "copy_in"):
        yield Figure(f"ssh store, {name} (hashed)", best[name], "MB/s", best[name] / there, "of rsync's speed")
    yield Figure("rsync -e ssh, back", back, "MB/s")
    yield Figure("ssh store, read", best["read"], "MB/s", best["read"] / back, "of rsync's speed back")
    yield Figure("ssh store, digest (read there)", best["digest"], "MB/s")


def _send(here: Store, source: Path, target: Path) -> None:
    """One file by the provider, which is told where its staging is."""
    target.parent.mkdir(exist_ok=True)
    copy = SourceCopy(here.backend, NAME, str(source))
    parcel = Parcel(1, NAME, copy, str(target), None, source.stat().st_size, "flat")
    sending = Sending(progress=lambda *_: None, keep_going=lambda: True, deadline=time.monotonic() + 3600)
    peer = Peer(name="far", ssh_hosts=[HOST])
    for outcome in RsyncProvider().send(peer, {"hostname": HOST, "ssh_host": HOST}, [parcel], sending):
        if not outcome.ok:
            raise RuntimeError(f"{outcome.code}: {outcome.reason}")


# --- s3 ---------------------------------------------------------------------------------------------------------------


def _in_bucket(folder: Path, source: Path) -> Iterator[Figure]:
    url = os.environ["BENCH_S3_URL"]
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket=BUCKET)
    (folder / "spool").mkdir()
    configuration = {"bucket": BUCKET, "endpoint_url": url, "prefix": "archive", "spool": str(folder / "spool")}
    store = Store(name="cloud", kind="s3", configuration=configuration)
    store.backend.initialise()
    with _placed(store, source) as place:
        best = _best(
            source.stat().st_size / 1e6,
            {
                "up": _Run(lambda: client.upload_file(str(source), BUCKET, "plain")),
                "place_item": _Placing(store, source),
                "down": _Run(lambda: client.download_file(BUCKET, "plain", f"{folder}/down"), folder / "down"),
                "read": _Run(lambda: _read(store, place)),
            },
        )
    up, down = best["up"], best["down"]
    yield Figure("boto3 upload_file", up, "MB/s")
    yield Figure("s3 store, place_item", best["place_item"], "MB/s", best["place_item"] / up, "of upload_file's speed")
    yield Figure("boto3 download_file", down, "MB/s")
    yield Figure("s3 store, read", best["read"], "MB/s", best["read"] / down, "of download_file's speed")


# --- Who runs against whom --------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """Something that is timed as a whole; what it made is removed, for the next run would find it there."""

    work: Callable[[], Any]
    made: Path | None = None

    def seconds(self) -> float:
        took = _timed(self.work)
        if self.made is not None:
            self.made.unlink()
        return took


@dataclass
class _Delivery:
    """A delivery into a staging of its own."""

    store: Store
    put: Callable[[str], None]

    def seconds(self) -> float:
        token = new_token()
        self.store.backend.stage(token, private=True)
        took = _timed(lambda: self.put(token))
        self.store.backend.drop_staging(token)
        return took


@dataclass
class _Placing:
    """Giving a delivery its place, which in a bucket is when the bytes go there."""

    store: Store
    source: Path

    def seconds(self) -> float:
        token = new_token()
        self.store.backend.stage(token, private=True)
        _copy_in(self.store, token, self.source)
        self.store.backend.sync_items([token])
        took = _timed(lambda: self.store.backend.place_item(token, f"2459122/{token}.uvh5"))
        self.store.backend.drop_staging(token)
        return took


def _best(megabytes: float, contenders: Mapping[str, "_Run | _Delivery | _Placing"]) -> dict[str, float]:
    """The best MB/s of each in some rounds, each round one after the other: what else the machine does meets all."""
    took: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, contender in contenders.items():
            took[name] = min(took.get(name, float("inf")), contender.seconds())
    return {name: megabytes / seconds for name, seconds in took.items()}


def _timed(work: Callable[[], Any]) -> float:
    os.sync()  # what was written before is not paid for now
    began = time.monotonic()
    work()
    return time.monotonic() - began


# --- Tools ------------------------------------------------------------------------------------------------------------


def _posix(folder: Path) -> Store:
    store = Store(name="here", kind="posix", configuration={"root": str(folder / "here")})
    store.backend.initialise()
    return store


def _write_item(store: Store, token: str, source: Path) -> None:
    with source.open("rb") as stream:
        store.backend.write_item(token, stream, ["xxh3"])


def _copy_in(store: Store, token: str, source: Path) -> None:
    store.backend.copy_in(token, str(source), ["xxh3"])


def _read(store: Store, place: str) -> None:
    for _ in store.backend.read(place):
        pass


@contextmanager
def _placed(store: Store, source: Path) -> Iterator[str]:
    token, place = new_token(), f"2459122/{NAME}"
    store.backend.stage(token, private=True)
    _copy_in(store, token, source)
    store.backend.sync_items([token])
    store.backend.place_item(token, place)
    yield place
    store.backend.drop_staging(token)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _write(path: Path, size_bytes: int) -> None:
    block = os.urandom(2**20)
    with path.open("wb") as stream:
        for number in range(size_bytes // len(block)):
            stream.write(number.to_bytes(8) + block[8:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
