"""A store with bytes to send, parcels of them, a staging area of a peer, and an sshd in front of it."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

Content = bytes | Mapping[str, bytes | None]


class Watched:
    """What a provider is given, with an account of what it told."""

    def __init__(self, **options: Any) -> None:
        from network.providers.base import Sending

        self.told: dict[int, list[int]] = {}
        self.going = True
        self.on_progress: Callable[[int, int], None] | None = None
        options = {"deadline": time.monotonic() + 120, "keep_going": lambda: self.going, **options}
        self.sending = Sending(progress=self._progress, **options)

    def _progress(self, transfer_id: int, count: int) -> None:
        self.told.setdefault(transfer_id, []).append(count)
        if self.on_progress is not None:
            self.on_progress(transfer_id, count)

    def stop_at(self, count: int) -> None:
        """Have the provider end once so many bytes of any file are over there."""

        def stop(_: int, found: int) -> None:
            if found >= count:
                self.going = False

        self.on_progress = stop


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def make_watched() -> type[Watched]:
    return Watched


@pytest.fixture
def store(db: None, tmp_path: Path) -> Any:
    from tests.make import make_store

    return make_store(tmp_path)


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """The peer's staging area, mounted here."""
    folder = tmp_path / "far" / "staging"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def make_parcel(store: Any, staging: Path) -> Callable[..., Any]:
    """`make_parcel(content, name=, destination=)`: a parcel of a file on the store; its staging directory is made."""
    from files.models import Instance
    from network.providers.base import Parcel, SourceCopy
    from network.providers.streams import members_of_product
    from tests.make import make_file

    numbers = iter(range(1, 100_000))

    def make(
        content: bytes | Mapping[str, bytes | None] = b"some bytes",
        *,
        name: str = "",
        destination: str = "",
        **more: Any,
    ) -> Parcel:
        number = next(numbers)
        file = make_file(name, content=content, store=store)
        instance = Instance.objects.get(file=file)
        if not destination:
            (staging / f"token{number}").mkdir()
            destination = str(staging / f"token{number}" / "item")
        fields = {
            "transfer_id": number,
            "file_name": file.name,
            "source": SourceCopy(store.backend, instance.path, store.backend.locate(instance.path)),
            "destination_path": destination,
            "upload_id": None,
            "size_bytes": file.size_bytes,
            "kind": file.kind,
            "members": members_of_product(file) if file.is_directory else (),
        }
        return Parcel(**{**fields, **more})

    return make


@pytest.fixture(scope="session")
def sshd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.rig.sshd import Sshd

    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sshd(sshd_server: Any, settings: Any) -> Any:
    """An sshd that our ssh reaches as `tests.rig.sshd.HOST`."""
    settings.LIBRARIAN_SSH_CONFIG = str(sshd_server.config)
    return sshd_server
