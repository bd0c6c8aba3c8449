"""Uploading to a real site over HTTP: files, directories, batches, and what is already there."""

import os

import pytest

from hera_librarian.checksums import new_hasher
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.exceptions import LibrarianHTTPError, LibrarianTimeoutError
from hera_librarian.uploading import Patience, upload_many, upload_path

MIB = 2**20


def xxh3(data):
    hasher = new_hasher("xxh3")
    hasher.update(data)
    return f"xxh3:::{hasher.hexdigest()}"


@pytest.fixture
def send(client, memory):
    def upload(path, destination=None, **options):
        options = {"way": "http", "memory": memory} | options
        return upload_path(options.pop("client", client), path, destination or path.name, **options)

    return upload


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 9 * MIB + 7])
def test_a_file_arrives_whole_with_its_checksum_and_an_account_of_every_byte(send, make_bytes, held, memory, size):
    path, told = make_bytes("a.uvh5", size), []
    result = send(path, progress=told.append)
    assert (result.ok, result.outcome, result.name, result.way) == (True, "new", path.name, "http"), result
    assert (result.size_bytes, result.checksum) == (size, xxh3(path.read_bytes()))
    assert held(path.name) == path.read_bytes()
    assert sum(told) == size
    assert not list(memory.folder.glob("*"))


def test_the_same_again_is_already_here_and_a_large_one_is_not_sent(send, make_bytes, proxy, client_of):
    small, large = make_bytes("small", 1000), make_bytes("large", 8 * MIB)
    for path in (small, large):
        send(path)
    told = []
    again = send(large, client=client_of(proxy), progress=told.append)
    assert (again.outcome, again.name, again.checksum) == ("already here", large.name, xxh3(large.read_bytes()))
    assert sum(told) == 8 * MIB
    assert proxy.sent < 10_000
    assert send(small).outcome == "already here"


def test_other_bytes_under_a_used_name_change_nothing(send, make_bytes, held, proxy, client_of):
    small, large = make_bytes("small", 1000), make_bytes("large", 8 * MIB)
    for path in (small, large):
        send(path)
        before = path.read_bytes()
        path.write_bytes(os.urandom(len(before)))
        result = send(path, client=client_of(proxy))
        assert (result.ok, result.outcome, result.code) == (False, "failed", "name_taken")
        assert result.reason
        assert result.remedy
        assert held(path.name) == before
    assert proxy.sent < 20_000


def test_what_the_caller_wishes_is_written_down(send, make_bytes, site):
    path = make_bytes("log", 10)
    send(path, f"2459122/{path.name}", null_obsid=True, uploader="cron", deletion_policy=DeletionPolicy.ALLOWED)
    file = f"File.objects.get(name={path.name!r})"
    told = site.evaluate(
        f"[{file}.uploader, {file}.source, {file}.instances.get().path, {file}.instances.get().deletion_policy]"
    )
    assert told == ["cron", "admin", f"2459122/{path.name}", 1]
    path = make_bytes("observed", 10)
    send(path, obsid=1479168018)
    assert site.evaluate(f"File.objects.get(name={path.name!r}).obsid") == 1479168018


def make_product(tmp_path, name, members):
    for member, data in members.items():
        (tmp_path / name / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / member).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("big", [10, 9 * MIB])
def test_a_directory_is_one_product(send, tmp_path, held, site, big):
    members = {"header": b"h", "deep/visdata": os.urandom(big), "ø": b"", "z" * 150: b"long"}
    product = make_product(tmp_path, f"zen.{big}.any", members)
    (product / "empty").mkdir()
    told = []
    result = send(product, progress=told.append)
    assert (result.outcome, result.name) == ("new", product.name)
    assert result.size_bytes == sum(told) == sum(map(len, members.values()))
    assert held(product.name) == members
    assert result.checksum == site.evaluate(f"File.objects.get(name={product.name!r}).checksum")
    assert send(product).outcome == "already here"
    (product / "header").write_bytes(b"x")
    changed = send(product)
    assert (changed.outcome, changed.code) == ("failed", "name_taken")


def test_what_is_wrong_with_a_product_is_its_answer(send, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "out").symlink_to("/etc/passwd")
    for path, destination, code in [
        (tmp_path / "nothing", "nothing", "missing_bytes"),
        (tmp_path / "p", "p", "unsafe_product"),
        (tmp_path / "p", "../p", "invalid_name"),
    ]:
        result = send(path, destination)
        assert (result.outcome, result.code, result.ok) == ("failed", code, False)
        assert result.reason
        assert result.remedy


def test_a_file_that_grows_while_it_is_sent_is_given_up_everywhere(send, make_bytes, memory, site, held):
    path = make_bytes("growing", 9 * MIB)

    def append(count):
        with path.open("ab") as file:
            file.write(b"more")

    result = send(path, progress=append)
    assert (result.outcome, result.code) == ("failed", "changed_while_read")
    assert not list(memory.folder.glob("*"))
    assert site.evaluate(f"list(Upload.objects.filter(destination={path.name!r}).values_list('state', flat=True))") == [
        "failed"
    ]
    assert held(path.name) is None


@pytest.mark.parametrize("size", [MIB, 3 * MIB])
def test_bytes_spoilt_on_the_way_are_found_by_the_commit_and_sent_again(send, make_bytes, held, proxy, client_of, size):
    path, client = make_bytes("spoilt", size), client_of(proxy)
    assert client.site()
    proxy.spoil_at(size // 2)
    result = send(path, client=client)
    assert (result.outcome, result.checksum) == ("new", xxh3(path.read_bytes()))
    assert held(path.name) == path.read_bytes()
    assert proxy.sent > 2 * size


def test_who_may_not_upload_is_told_at_once(send, make_bytes, client_of, site):
    path = make_bytes("a", 2 * MIB)
    with pytest.raises(LibrarianHTTPError) as refused:
        send(path, client=client_of(site, password="wrong"))
    assert refused.value.status_code == 401


def test_a_site_that_is_away_is_an_error_and_not_an_answer(send, make_bytes, client_of, proxy):
    client = client_of(proxy)
    assert client.site()
    proxy.refuse()
    with pytest.raises(LibrarianTimeoutError):
        send(make_bytes("a", 10), client=client, new_patience=lambda: Patience(1))


# --- Many -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def send_many(client, memory):
    def upload(items, **options):
        options = {"way": "http", "memory": memory} | options
        return {each.path: each for each in upload_many(options.pop("client", client), items, **options)}

    return upload


def test_small_products_travel_together_and_each_gets_its_answer(send_many, tmp_path, held, proxy, client_of, site):
    files = {f"many-{number}": os.urandom(number * 100) for number in range(40)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    product = make_product(tmp_path, "many.any", {"header": b"h", "visdata": b"v" * 1000})
    (tmp_path / "large").write_bytes(os.urandom(2 * MIB))
    items = [(tmp_path / name, f"2459122/{name}") for name in [*files, "many.any", "large"]]
    told = []
    results = send_many(items, client=client_of(proxy), progress=told.append)
    assert {result.outcome for result in results.values()} == {"new"}
    assert {str(path) for path, _ in items} == set(results)
    assert sum(told) == sum(result.size_bytes for result in results.values())
    assert held("many-7") == files["many-7"]
    assert results[str(tmp_path / "many-7")].checksum == xxh3(files["many-7"])
    assert held("many.any") == {"header": b"h", "visdata": b"v" * 1000}
    assert results[str(product)].checksum == site.evaluate("File.objects.get(name='many.any').checksum")
    again = send_many(items)
    assert {result.outcome for result in again.values()} == {"already here"}
    assert site.evaluate("Upload.objects.filter(content='batch').count()") == 2


def test_a_bad_product_never_fails_its_neighbours(send_many, tmp_path, held):
    for name in ("taken", "good", "climbing", "twice"):
        (tmp_path / name).write_bytes(name.encode())
    send_many([(tmp_path / "taken", "taken")])
    (tmp_path / "taken").write_bytes(b"other bytes")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "out").symlink_to("/etc/passwd")
    items = [
        (tmp_path / "taken", "taken"),
        (tmp_path / "climbing", "../climbing"),
        (tmp_path / "nothing", "nothing"),
        (tmp_path / "link", "link"),
        (tmp_path / "twice", "twice"),
        (tmp_path / "good", "twice"),
        (tmp_path / "good", "good"),
    ]
    results = list(upload_codes(send_many, items))
    assert sorted(results) == [
        ("climbing", "invalid_name"),
        ("good", ""),
        ("good", "name_taken"),
        ("link", "unsafe_product"),
        ("nothing", "missing_bytes"),
        ("taken", "name_taken"),
        ("twice", ""),
    ]
    assert (held("good"), held("twice"), held("taken")) == (b"good", b"twice", b"taken")


def upload_codes(send_many, items):
    """Last component and code of each result, also where two have the same path."""
    for item in items:
        for path, result in send_many([item]).items():
            yield os.path.basename(path), result.code


def test_two_products_for_one_destination_never_share_a_batch(client, memory, tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).write_bytes(name.encode())
    items = [(tmp_path / "one", "same-place"), (tmp_path / "two", "same-place"), (tmp_path / "three", "three-alone")]
    results = list(upload_many(client, items, way="http", memory=memory))
    assert sorted((os.path.basename(each.path), each.outcome, each.code) for each in results) == [
        ("one", "new", ""),
        ("three", "new", ""),
        ("two", "failed", "name_taken"),
    ]
