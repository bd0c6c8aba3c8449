"""The page of one file."""

from urllib.parse import quote

import pytest

from files.copies import CONDITIONS, CopyState
from files.models import File, Instance, Presence
from files.services.events import append_event
from tests.make import make_file, make_instance, make_remote_instance, make_store
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(tmp_path):
    return make_store(tmp_path, name="pot2")


def test_the_five_states_are_said_in_words(reader, store, second):
    make_file("one", store=store)
    make_instance(make_file("many", store=store), second)
    make_remote_instance(make_file("both", store=store), peer="nrao")
    make_remote_instance(make_file("elsewhere"), peer="nrao")
    make_file("nowhere")
    make_file("leaving", store=store, instance={"presence": Presence.SET_ASIDE})
    said = {name: words_of(reader.get(f"/file/{name}")) for name in File.objects.values_list("name", flat=True)}
    assert "One copy, on pot1." in said["one"]
    assert "2 copies here, on pot1 and pot2." in said["many"]
    assert "Here on pot1, and confirmed at nrao." in said["both"]
    assert "No copy here; confirmed at nrao." in said["elsewhere"]
    assert "No copy is known" in said["nowhere"]
    assert "No copy is known" in said["leaving"]


def test_the_states_partition_the_catalogue(store, second):
    """Every file is in exactly one state, whatever mix of present, lost and remote copies it has."""
    for here in (0, 1, 2):
        for presence in Presence.values:
            for remote in (0, 1, 2):
                file = make_file(f"{presence}.{here}.{remote}")
                for place in (store, second)[:here]:
                    make_instance(file, place, presence=presence)
                for number in range(remote):
                    make_remote_instance(file, peer_store_id=number + 1)
    counts = [File.objects.with_copies().filter(condition).count() for condition in CONDITIONS.values()]
    assert sum(counts) == File.objects.count()
    assert all(counts)
    assert set(CONDITIONS) == set(CopyState.values)


def test_it_tells_copies_history_and_digests(reader, store):
    file = make_file("zen.1.uvh5", store=store, place="2461364/zen.1.uvh5", obsid=1447891218)
    page = reader.get("/file/zen.1.uvh5")
    words = words_of(page)
    for what in ("pot1", "present", "good", "2461364/zen.1.uvh5", file.digest, file.checksum, "1447891218"):
        assert what in words
    assert "file registered" in words
    assert "instance created" in words
    copies = [attributes["data-copy"] for tag, attributes in read(page).tags if "data-copy" in attributes]
    assert {file.name, file.digest, file.checksum} <= set(copies)


def test_it_hands_out_the_same_bytes_by_button_and_by_program(reader, store):
    make_file("zen.1.uvh5", store=store, content=b"measured")
    page = reader.get("/file/zen.1.uvh5")
    (address,) = {link for link in links_of(page) if link.startswith("/api/v3/files/")}
    answer = reader.get(address)
    assert b"".join(answer.streaming_content if answer.streaming else [answer.content]) == b"measured"
    assert f"http://testserver{address}" in words_of(page)


def test_the_snippets_of_a_hostile_name_run_nothing(reader, store):
    name = "$(touch x) '\";`id`\\.log"
    make_file(name, store=store)
    page = reader.get(f"/file/{quote(name)}")
    blocks = [attributes["data-copy"] for tag, attributes in read(page).tags if "data-copy" in attributes]
    (python,) = [block for block in blocks if block.startswith("import os")]
    compile(python, "snippet", "exec")
    assert name in [node.value for node in _constants(python)]
    (curl,) = [block for block in blocks if block.startswith("curl")]
    import shlex

    assert f"./{name}" in shlex.split(curl.replace("\\\n", " "))
    (command,) = [block for block in blocks if "librarian download" in block]
    assert f"--name={name}" in shlex.split(command)


def _constants(source):
    import ast

    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]


def test_what_cannot_be_read_is_not_offered(reader, tmp_path):
    away = make_store(tmp_path, name="away", available=False)
    make_file("zen.1", store=away)
    page = reader.get("/file/zen.1")
    assert "It cannot be downloaded here at present." in words_of(page)
    assert not [link for link in links_of(page) if link.startswith("/api/v3/files/")]


def test_a_file_whose_last_copy_is_gone_says_what_became_of_it(reader, store):
    gone = make_instance(make_file(), store)
    Instance.objects.update(presence=Presence.GONE)
    page = words_of(reader.get(f"/file/{gone.file.name}"))
    assert "holds its bytes any more" in page
    assert "0 present of 1" in page


def test_members_come_in_pages(reader, store):
    make_file("a.uv", store=store, content={f"part{number:03}": b"x" for number in range(60)} | {"empty": None})
    address, seen = "/file/a.uv", []
    for _ in range(4):
        page = reader.get(address)
        words = read(page).words
        seen += [word for word in words if word.startswith("part") or word == "empty/"]
        more = [a["href"] for _, a in read(page).tags if a.get("rel") == "next" and "members=" in a.get("href", "")]
        if not more:
            break
        address = "/file/a.uv" + more[0].partition("#")[0]
    assert len(set(seen)) == 61


def test_a_member_is_fetched_by_its_own_path(reader, store):
    make_file("a.uv", store=store, content={"dir/a&b #1": b"inside"})
    (address,) = [link for link in links_of(reader.get("/file/a.uv")) if "member=" in link]
    answer = reader.get(address)
    assert b"".join(answer.streaming_content if answer.streaming else [answer.content]) == b"inside"


def test_old_history_stays_in_reach(reader, store):
    file = make_file("zen.1", store=store)
    for number in range(30):
        append_event(file=file, type=f"looked_{number}", actor="a person", facts={"found": "<b>good</b>"})
    first = reader.get("/file/zen.1")
    assert "looked 29" in words_of(first)
    assert "<b>good</b>" in words_of(first)
    assert "file registered" not in words_of(first)
    address = "/file/zen.1"
    for _ in range(5):
        more = [a["href"] for _, a in read(reader.get(address)).tags if a.get("rel") == "next"]
        if not more:
            break
        address = "/file/zen.1" + more[0].partition("#")[0]
    assert "file registered" in words_of(reader.get(address))


@pytest.mark.parametrize("name", ["nosuch", "a%00b", "../etc/passwd", "%2e%2e/x", "x" * 300, "a//b"])
def test_what_is_not_there_is_a_page_that_says_so(reader, name):
    page = reader.get(f"/file/{name}")
    assert page.status_code in (400, 404), page.status_code
    assert "Librarian" in words_of(page)


def test_a_name_with_slashes_has_a_page_in_path_mode(reader, store, settings):
    settings.LIBRARIAN_FILE_NAMES = "path"
    make_file("2461364/deep dir/zen.1", store=store)
    assert "/file/2461364/deep%20dir/zen.1" in links_of(reader.get("/files/"))
    assert "2461364/deep dir/zen.1" in words_of(reader.get("/file/2461364/deep%20dir/zen.1"))


def test_a_name_is_led_to_the_name_as_filed(reader, store):
    make_file("zen.1", store=store)
    assert reader.get("/file/2461364/zen.1").url == "/file/zen.1"


def test_the_number_of_queries_does_not_grow_with_copies_and_history(reader, store, tmp_path):
    file = make_file("a.uv", store=store, content={"one": b"1"})
    _, few = queries_of(lambda: reader.get("/file/a.uv"))
    for number in range(6):
        make_instance(file, make_store(tmp_path, name=f"more{number}"))
        make_remote_instance(file, peer_store_id=number + 1)
    _, many = queries_of(lambda: reader.get("/file/a.uv"))
    assert len(many) == len(few)
    # file, instances, remote instances, history, members; copies that are wanted, stores without one; peers, and what
    # is on its way there and from there
    assert len(many) <= 10, many
