"""A caller of the wire protocol, and deliveries as its clients make them."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import xxhash
from rest_framework.test import APIClient

from files.models import Upload
from hera_librarian.checksums import combine_directory_digests
from tests.make import PASSWORD

HELLO = b"Hello, Librarian!\n"
HELLO_CHECKSUM = "xxh3:::a5c359431560fd3482bcbc435e9e275c"
# The worked example of the protocol's reference, section 3.4.
TREE = {
    "a.txt": b"alpha\n",
    "b.bin": bytes(range(256)),
    "empty": None,
    "sub/a.txt": b"alpha\n",
    "sub/deep/.hidden": b"",
}
TREE_CHECKSUM = "xxh3:::08aca7d8835b35675d24e9d7346392f5"


class Wire:
    """Calls endpoints with HTTP Basic, as clients of the protocol do, and looks at every answer's form."""

    def __init__(self):
        self.client = APIClient(raise_request_exception=False)

    def post(self, endpoint, body=None, *, user="readappend", password=PASSWORD, raw=None, method="post", **headers):
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = {"content_type": "application/json", **headers}
        if user is not None:
            credential = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers = {"HTTP_AUTHORIZATION": f"Basic {credential}", **headers}
        response = self.client.generic(method.upper(), f"/api/v2/{endpoint}", data, **headers)
        if response.status_code >= 400:
            answer = response.json()
            assert isinstance(answer, dict), "clients take a failure for an object"
            assert "detail" not in answer, "clients parse `detail` as JSON text"
            assert answer["reason"], "a failure says why"
            assert answer["suggested_remedy"], "a failure says what helps"
        return response

    def ok(self, endpoint, body=None, status=200, **options):
        response = self.post(endpoint, body, **options)
        assert response.status_code == status, response.content
        return response.json() if response.content else None

    def refused(self, endpoint, body=None, **options):
        response = self.post(endpoint, body, **options)
        assert 400 <= response.status_code < 500, response.content
        return response.status_code, response.json()


@dataclass
class Delivery:
    """One delivery of a client: its messages, and the bytes it puts into staging."""

    wire: Wire
    name: str
    content: object
    user: str = "readappend"
    staged: dict | None = None

    def stage(self, **changes):
        size = (
            len(self.content) if isinstance(self.content, bytes) else sum(len(p or b"") for p in self.content.values())
        )
        body = {
            "upload_size": size,
            "upload_checksum": checksum(self.content),
            "upload_name": self.name.rpartition("/")[2],
            "destination_location": self.name,
            "uploader": self.user,
        }
        self.staged = self.wire.ok("upload/stage", {**body, **changes}, 201, user=self.user)
        return self

    def write(self, content=None):
        write_tree(Path(self.staged["staging_location"]), self.content if content is None else content)
        return self

    def commit(self, **changes):
        body = self.commit_body(**changes)
        return self.wire.post("upload/commit", body, user=self.user)

    def commit_body(self, **changes):
        given = ("store_name", "staging_name", "staging_location", "upload_name", "destination_location", "transfer_id")
        return {
            **{key: self.staged[key] for key in given},
            "transfer_provider_name": "local",
            "transfer_provider": self.staged["transfer_providers"]["local"],
            "meta_mode": "infer",
            "deletion_policy": "0",
            "uploader": self.user,
            "null_obsid": True,
            **changes,
        }

    @property
    def upload(self):
        return Upload.objects.get(pk=self.staged["transfer_id"])


def write_tree(path: Path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    path.mkdir()
    for name, part in content.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if part is None:
            target.mkdir()
        else:
            target.write_bytes(part)


def checksum(content):
    """What a client declares: XXH3 of a flat file, for a directory over the sorted digests of its files."""
    if isinstance(content, bytes):
        return f"xxh3:::{xxhash.xxh3_128_hexdigest(content)}"
    digests = [xxhash.xxh3_128_hexdigest(part) for part in content.values() if part is not None]
    return f"xxh3:::{combine_directory_digests('xxh3', digests)}"


def sha256(content):
    return hashlib.sha256(content).hexdigest()
