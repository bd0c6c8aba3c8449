"""Looks at a bucket: the spool on this machine, our account, the service, what it lets us do, its clock."""

import shutil
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from django.utils import timezone

from librarian.common.findings import Finding, doubts, fails, works
from stores.models import Store
from stores.services.testing import ground

CONNECT_SECONDS, ANSWER_SECONDS = 5, 15
CLOCK_SECONDS = 300  # services refuse what is signed 15 minutes off
SPOOL_BYTES = 10 * 10**9

_REFUSED = {
    "AccessDenied": ("the account may not list the bucket", "Give it the permissions that docs/stores.md lists."),
    "InvalidAccessKeyId": ("the service does not know this access key", "Correct it in the AWS configuration files."),
    "SignatureDoesNotMatch": ("the secret key is not the one of this access key", "Correct it in the AWS files."),
    "ExpiredToken": ("the credentials have expired", "Renew them; a server wants ones that do not expire."),
    "RequestTimeTooSkewed": ("our clock differs too much from the service's", "Let this machine follow a time server."),
    "NoSuchBucket": ("there is no such bucket", "Make it, or correct `bucket` in the store's configuration."),
    "PermanentRedirect": ("the bucket lies in another region", "Set `region` in the store's configuration."),
    "AuthorizationHeaderMalformed": ("the bucket lies in another region", "Set `region` in the store's configuration."),
}


def look(store: Store) -> Iterator[Finding]:
    """Spool, credentials, endpoint and bucket; ends where nothing further can work."""
    yield _spool(store.configuration.get("spool", ""))
    try:
        session = boto3.session.Session(
            profile_name=store.configuration.get("profile") or None,
            region_name=store.configuration.get("region") or None,
        )
        credentials = session.get_credentials()
        method = None if credentials is None else credentials.method
    except BotoCoreError as error:
        remedy = "Correct `profile`, or write it into ~/.aws/config and ~/.aws/credentials of the server's user."
        yield fails("account", str(error), remedy)
        return
    if method is None:
        yield _no_credentials(store)
        return
    yield works("credentials", f"found by {method}")
    yield from _bucket(store, session)


def _spool(path: str) -> Finding:
    facts = ground.directory(path)
    if facts["error"]:
        return fails("spool", f"{path}: {facts['error'].lower()}", f"Make the directory {path} for the server's user.")
    if facts["read_only"] or not facts["writable"]:
        remedy = "Mount it writable and give the server's user the right to write there."
        return fails("spool", f"{path} may not be written (mode {facts['mode']:04o})", remedy)
    free = shutil.disk_usage(path).free
    if free < SPOOL_BYTES:
        remedy = "Deliveries wait there whole: give it a disk with room for the largest of them, several times."
        return doubts("spool", f"{path} has only {free} bytes free", remedy)
    return works("spool", f"{path}, {free} bytes free")


def _no_credentials(store: Store) -> Finding:
    profile = store.configuration.get("profile") or "default"
    remedy = f"Write them for the profile {profile} into ~/.aws/credentials of the server's user, mode 0600."
    return fails("account", f"no credentials are found for the profile {profile}", remedy)


def _bucket(store: Store, session: Any) -> Iterator[Finding]:
    bucket, endpoint = store.configuration["bucket"], store.configuration.get("endpoint_url") or None
    if endpoint and endpoint.startswith("http://") and not _is_this_machine(endpoint):
        yield doubts("encryption", f"bytes go to {endpoint} in clear", "Use the https address of the service.")
    options = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"} if endpoint else {},
    )
    try:
        client = session.client("s3", endpoint_url=endpoint, config=options)
        answer = client.list_objects_v2(Bucket=bucket, Prefix=store.configuration.get("prefix") or "", MaxKeys=1)
    except ClientError as error:
        yield _refused(bucket, error)
    except NoCredentialsError:
        yield _no_credentials(store)
    except (BotoCoreError, ValueError) as error:
        remedy = "Check `endpoint_url` and `region`, the service, and the proxy or firewall between."
        yield fails("endpoint", f"{endpoint or 'the service'} cannot be used: {error}", remedy)
    else:
        yield works("account", f"may list {bucket}")
        yield _clock(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))


def _refused(bucket: str, error: ClientError) -> Finding:
    code = error.response.get("Error", {}).get("Code", "")
    said = error.response.get("Error", {}).get("Message", "")
    reason, remedy = _REFUSED.get(code, (f"the service answers {code}: {said}", "Ask who runs the service."))
    return fails("account", f"bucket {bucket}: {reason}", remedy)


def _clock(date: str) -> Finding:
    try:
        apart = abs((parsedate_to_datetime(date) - timezone.now()).total_seconds())
    except (ValueError, TypeError):
        return works("clock over there", "the service does not tell it")
    if apart > CLOCK_SECONDS:
        return doubts(
            "clock over there", f"it differs from ours by {apart:.0f} s", "Let this machine follow a time server."
        )
    return works("clock over there", "as ours")


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")
