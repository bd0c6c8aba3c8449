"""The tar stream of a directory product: its length beforehand, and any part of it."""

import io
import tarfile

import pytest

from files.models import File
from network.providers.streams import SourceChanged, members_of_product, stream_bytes_of, tar_length, tar_part
from tests.make import make_file
from tests.network.providers.checks import ODD_NAMES

LONG = {f"{'d' * 200}/{'e' * 200}/{number}": b"x" * number for number in range(0, 1100, 510)}


def stream(parcel, start=0, stop=None):
    top = parcel.file_name.rpartition("/")[2]
    stop = tar_length(top, parcel.members) if stop is None else stop
    copy = parcel.source
    return b"".join(
        tar_part(copy.backend, copy.place, top=top, members=parcel.members, start=start, stop=stop)
    )  # fmt: skip


@pytest.mark.parametrize("content", [ODD_NAMES, LONG, {}, {"only": None}], ids=["odd", "long", "nothing", "empty"])
def test_its_length_is_known_without_reading_and_it_holds_the_product(make_parcel, content):
    parcel = make_parcel(content, name="a.uvh")
    whole = stream(parcel)
    assert len(whole) == stream_bytes_of(File.objects.get()) == tar_length("a.uvh", parcel.members)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        for entry in tar:
            path = entry.name.removeprefix("a.uvh").lstrip("/")
            found[path] = tar.extractfile(entry).read() if entry.isfile() else None
    assert found.pop("") is None
    assert found == content


def test_any_part_of_it_is_what_lies_there_in_the_whole(make_parcel):
    parcel = make_parcel({**ODD_NAMES, **LONG}, name="a.uvh")
    whole = stream(parcel)
    edges = sorted({0, 1, 511, 512, 513, 1024, 5000, 70_000, 72_222, len(whole) - 1024, len(whole) - 1, len(whole)})
    for start in edges:
        for stop in edges:
            if start <= stop:
                assert stream(parcel, start, stop) == whole[start:stop], (start, stop)


def test_a_member_that_lost_bytes_ends_the_stream_with_an_error(make_parcel):
    parcel = make_parcel({"a": b"1234", "b": b"5678"}, name="a.uvh")
    with open(f"{parcel.source.location}/a", "wb") as file:
        file.write(b"12")
    with pytest.raises(SourceChanged, match="a ends 2 bytes early"):
        stream(parcel)


def test_many_members_do_not_stay_in_memory(store):
    file = make_file("b.uvh", content={f"{'n' * 200}{number:05}": b"" for number in range(6000)}, store=store)
    records = members_of_product(file)
    assert records.count == 6000
    assert records._file._rolled  # on disk
    assert [member.path[-5:] for member in records] == [f"{number:05}" for number in range(6000)]
