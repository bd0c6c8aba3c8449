"""Builders for transfers between sites: accounts of peers, their offers, and rows on either side."""

import hashlib
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from accounts.levels import Level
from accounts.models import User
from files.models import Upload, UploadKind
from hera_librarian.features import FEATURES
from network.models import ENDED, IncomingTransfer, OutgoingTransfer, TransferState
from stores.backends.base import new_token
from tests.make import make_file, make_peer, make_user
from tests.wire.caller import checksum, write_tree

BYTES = b"the bytes of a file"
NAME = "zen.2457561.00001.sum.uvh5"


def make_site(name="north", **peer):
    """A peer and its account here; returns the peer."""
    make_user(name, level=Level.READAPPEND)
    return make_peer(name, **peer)


def item(name=NAME, content=BYTES, *, source_id=1, facts=True, **changes):
    """One file of a batch as a sender offers it."""
    size = len(content) if isinstance(content, bytes) else sum(len(part or b"") for part in content.values())
    said = {
        "upload_size": size,
        "upload_checksum": checksum(content),
        "upload_name": name,
        "destination_location": name,
        "uploader": "an instrument",
        "source_transfer_id": source_id,
    }
    if facts and isinstance(content, bytes):
        said["facts"] = {"kind": "flat", "digest": hashlib.sha256(content).hexdigest(), "obsid": 1_000_000_000}
    return {**said, **changes}


def batch(*items, source="north", features=FEATURES, **changes):
    """An offer; `features=()` is a foreign sender's."""
    body = {"uploads": list(items), "source": source, "total_size": sum(each["upload_size"] for each in items)}
    if features:
        body["librarian_features"] = list(features)
    return {**body, **changes}


def bring(answered, content=BYTES):
    """Write the bytes of one file of an answer into its staging."""
    write_tree(Path(answered["staging_location"]), content)


def make_incoming(
    store=None,
    *,
    account="north",
    name=NAME,
    content=BYTES,
    written=None,
    state=TransferState.INITIATED,
    features=FEATURES,
    source_id=1,
    **fields,
):
    """An incoming transfer; with a store also its upload, whose bytes are written for `written`."""
    upload = None
    if store is not None:
        upload = Upload.objects.create(
            kind=UploadKind.CLONE,
            owner=User.objects.filter(username=account).first(),
            owner_name=account,
            store=store,
            token=new_token(),
            upload_name=name,
            destination=name,
            uploader="an instrument",
            source=account,
            size_bytes=len(content),
            length_bytes=len(content),
            checksum=checksum(content),
            digest=hashlib.sha256(content).hexdigest(),
            null_obsid=True,
            expires_at=timezone.now() + timedelta(days=7),
        )
        store.backend.stage(upload.token)
        if written is not None:
            write_tree(Path(store.backend.item_location(upload.token)), written)
    if state in ENDED:
        fields.setdefault("finished_at", timezone.now())
    if state == TransferState.STAGED:
        fields.setdefault("staged_at", timezone.now())
    return IncomingTransfer.objects.create(
        **{
            "account_name": account,
            "peer_name": account,
            "source": account,
            "uploader": "an instrument",
            "source_transfer_id": source_id,
            "state": state,
            "name": name,
            "destination": name,
            "size_bytes": len(content),
            "checksum": checksum(content),
            "features": list(features),
            "upload": upload,
            **fields,
        }
    )


def make_outgoing(file=None, *, peer="south", state=TransferState.STAGED, remote_id=7, **fields):
    """An outgoing transfer that the peer knows as `remote_id`."""
    if state in ENDED:
        fields.setdefault("finished_at", timezone.now())
    file = file or make_file()
    return OutgoingTransfer.objects.create(
        file=file, peer_name=peer, state=state, remote_transfer_id=remote_id, size_bytes=file.size_bytes, **fields
    )


def state_of(transfer):
    """State of a transfer as the row has it."""
    return type(transfer).objects.values_list("state", flat=True).get(pk=transfer.pk)
