"""A small client that behaves as the protocol's reference says (sections 1.2, 1.5 and 3.1), against a real server.

It sends what clients in the field send, with the same library, and understands no more of an answer than they do.
"""

import json
import shutil
from pathlib import Path

import pytest
import requests

from tests.rig.servers import ADMIN, ADMIN_PASSWORD
from tests.wire.caller import HELLO, TREE, checksum, write_tree

pytestmark = pytest.mark.django_db(transaction=True)


NOT_ECHOED = ("available_bytes_on_store", "transfer_providers")


class HTTPError(Exception):
    def __init__(self, url, status_code, reason, suggested_remedy, full_response):
        super().__init__(url, status_code, reason, suggested_remedy)
        self.status_code, self.reason, self.suggested_remedy = status_code, reason, suggested_remedy
        self.full_response = full_response


class Client:
    """`host` has no port and may have a path; one connection a call, compact JSON, Basic on every request."""

    def __init__(self, host, port, user, password):
        self.user, self.auth = user, (user, password)
        scheme, _, rest = host.removesuffix("/").partition("://")
        name, slash, path = rest.partition("/")
        self.root = f"{scheme}://{name}:{port}{slash}{path}/api/v2/"

    def post(self, endpoint, message=None):
        data = None if message is None else json.dumps(message, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"}
        response = requests.post(self.root + endpoint, data=data, headers=headers, auth=self.auth, timeout=60)
        if str(response.status_code)[0] != "2":
            try:
                body = response.json()
            except ValueError:
                body = {}
            if "detail" in body:
                body = json.loads(body["detail"])
            reason = body.get("reason", "<no reason provided>")
            remedy = body.get("suggested_remedy", "<no suggested remedy provided>")
            raise HTTPError(endpoint, response.status_code, reason, remedy, body)
        return json.loads(response.content) if response.content else None

    def upload(self, local: Path, destination, size, declared, policy="0"):
        staged = self.post(
            "upload/stage",
            {
                "upload_size": size,
                "upload_checksum": declared,
                "upload_name": Path(destination).name,
                "destination_location": destination,
                "uploader": self.user,
            },
        )
        for name, provider in staged["transfer_providers"].items():
            assert provider.keys() == {"hostnames"}, "clients refuse an answer with a provider of unknown shape"
            copy = shutil.copytree if local.is_dir() else shutil.copy2
            copy(local, staged["staging_location"])
            self.post(
                "upload/commit",
                {
                    **{
                        key: staged[key]
                        for key in staged
                        if key not in ("available_bytes_on_store", "transfer_providers")
                    },
                    "transfer_provider_name": name,
                    "transfer_provider": provider,
                    "meta_mode": "infer",
                    "deletion_policy": policy,
                    "uploader": self.user,
                    "null_obsid": True,
                },
            )
            return staged
        raise AssertionError("No valid transfer managers found.")

    def search_files(self, name=None):
        message = {"name": name, "create_time_window": None, "uploader": None, "source": None, "max_results": 64}
        try:
            return self.post("search/file", message)
        except HTTPError as problem:
            if problem.status_code == 404 and problem.reason == "No files found.":
                return []
            raise


@pytest.fixture
def site(start_site):
    return start_site("site_a", LIBRARIAN_FILE_NAMES="path")


def test_a_client_of_the_reference_pings_uploads_and_finds(site, tmp_path):
    client = Client("http://127.0.0.1/", site.port, ADMIN, ADMIN_PASSWORD)
    assert client.post("ping/", {})["name"] == "site_a"
    assert client.post("ping/admin", {})["name"] == "site_a"
    assert client.search_files("2459122/hello.txt") == []
    flat, tree = tmp_path / "hello.txt", tmp_path / "obs"
    write_tree(flat, HELLO)
    write_tree(tree, TREE)
    client.upload(flat, "2459122/hello.txt", 18, checksum(HELLO), policy="1")
    client.upload(tree, "2459122/obs", 268, checksum(TREE))
    (found,) = client.search_files("2459122/hello.txt")
    assert Path(found["instances"][0]["path"]).read_bytes() == HELLO
    assert found["instances"][0]["deletion_policy"] == 1
    (found,) = client.search_files("2459122/obs")
    assert (Path(found["instances"][0]["path"]) / "sub/deep/.hidden").read_bytes() == b""
    with pytest.raises(HTTPError) as refusal:
        client.upload(flat, "2459122/hello.txt", 18, checksum(HELLO))
    assert refusal.value.status_code == 409
    assert "already exists on librarian" in refusal.value.reason
    assert [store["store_type"] for store in client.post("admin/stores/list")] == ["local"]  # an empty body


def test_failures_are_understood_by_a_client_of_the_reference(site):
    stranger = Client("http://127.0.0.1", site.port, ADMIN, "wrong")
    assert stranger.post("ping/", {})["name"] == "site_a"
    for client, endpoint, message, status in (
        (stranger, "ping/logged", {}, 401),
        (stranger, "nothing", {}, 404),
        (Client("http://127.0.0.1", site.port, ADMIN, ADMIN_PASSWORD), "upload/stage", {}, 422),
        (Client("http://127.0.0.1", site.port, ADMIN, ADMIN_PASSWORD), "error/clear", {"id": 9}, 404),
    ):
        with pytest.raises(HTTPError) as refusal:
            client.post(endpoint, message)
        assert refusal.value.status_code == status
        assert refusal.value.reason != "<no reason provided>"
        assert refusal.value.suggested_remedy != "<no suggested remedy provided>"


def test_a_wrong_slash_is_followed_with_its_body(site):
    client = Client("http://127.0.0.1", site.port, ADMIN, ADMIN_PASSWORD)
    assert client.post("ping", {})["name"] == "site_a"
    with pytest.raises(HTTPError) as refusal:
        client.post("error/clear/", {"id": 9})
    assert refusal.value.reason == "No error found with ID 9 to clear."


def test_bodies_that_lie_about_their_length(site):
    """Chunked bodies have none: small ones are read, endless ones cut off."""
    address, auth = f"{site.url}/api/v2/search/file", (ADMIN, ADMIN_PASSWORD)
    headers = {"Content-Type": "application/json"}

    def post(blocks):
        return requests.post(address, data=blocks, headers=headers, auth=auth, timeout=60)

    answer = post(iter([b'{"na', b'me": "x"}']))
    assert (answer.status_code, answer.json()["reason"]) == (404, "No files found.")
    answer = post(iter([b'{"name": ', b"5}"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_message")
    answer = post(b" " * 2**20 for _ in range(17))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert post(b"[" * 200_000).status_code == 400
    assert requests.get(f"{site.url}/health/live", timeout=60).json() == {"status": "live"}
