"""Which bucket a store means and how it is reached: its configuration, checked. No secret is ever part of it."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from stores.backends.corners import path_problems
from stores.backends.places import name_problem

_KEYS = ("bucket", "prefix", "endpoint_url", "region", "profile", "spool")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_WORD = re.compile(r"[A-Za-z0-9_.@+-]{1,128}")
_SECRET = re.compile(r"secret|token|password|access_?key", re.IGNORECASE)
_LABEL = r"(?!-)[A-Z0-9-]{1,63}(?<!-)"
_HOST = re.compile(rf"[0-9A-F:.]+|({_LABEL}\.)*{_LABEL}\.?", re.IGNORECASE)  # what botocore takes
_MAX_PREFIX_BYTES = 256
_MAX_SPOOL_BYTES = 160  # the path of a delivery in it must fit the wire


@dataclass(frozen=True, slots=True)
class Target:
    """A bucket, and the way to it. Empty texts leave the choice to the AWS configuration of the server's user."""

    bucket: str
    prefix: str  # empty, or with a slash at its end
    endpoint_url: str
    region: str
    profile: str
    spool: str

    @classmethod
    def of(cls, configuration: dict[str, Any]) -> "Target":
        """The target of a valid configuration."""
        texts = {key: configuration.get(key) or "" for key in _KEYS}
        if texts["prefix"] and not texts["prefix"].endswith("/"):
            texts["prefix"] += "/"
        return cls(**texts)

    @property
    def where(self) -> str:
        """The service, as people know it."""
        return self.endpoint_url or f"Amazon S3{self.region and f' in {self.region}'}"

    @property
    def credentials(self) -> str:
        """Where the credentials come from; never what they are."""
        return f"the profile {self.profile}" if self.profile else "the AWS configuration of the server's user"


def check_configuration(configuration: dict[str, Any]) -> list[str]:
    """Sentences that say what is wrong with an s3 configuration; empty when it is valid."""
    if not isinstance(configuration, dict):
        return ['The configuration must be an object such as {"bucket": "archive", "spool": "/data/spool"}.']
    problems = [_unknown(key) for key in sorted(set(configuration) - set(_KEYS))]
    texts = {key: value for key, value in configuration.items() if key in _KEYS and value not in (None, "")}
    odd = [key for key, value in texts.items() if not isinstance(value, str)]
    if odd:
        return [*problems, f"{', '.join(odd)} must be texts."]
    if "bucket" not in texts:
        problems.append("'bucket' is missing: the name of the bucket that holds the files.")
    elif not _BUCKET.fullmatch(texts["bucket"]):
        problems.append("'bucket' must be the name of a bucket: 3 to 63 letters, digits, dots and hyphens.")
    if "spool" not in texts:
        problems.append("'spool' is missing: the absolute path of a directory here, where deliveries wait.")
    else:
        problems += _spool_problems(texts["spool"])
    problems += _prefix_problems(texts.get("prefix", "")) + _endpoint_problems(texts.get("endpoint_url", ""))
    for key in ("region", "profile"):
        if key in texts and not _WORD.fullmatch(texts[key]):
            problems.append(f"'{key}' must be a plain name.")
    return problems


def _unknown(key: str) -> str:
    if _SECRET.search(key):
        return (
            f"'{key}' does not belong here: credentials come from the AWS configuration of the server's user "
            "(a profile of ~/.aws/credentials, or the environment), never from the database."
        )
    return f"'{key}' is not a setting of an s3 store."


def _spool_problems(spool: str) -> list[str]:
    problems = path_problems("spool", spool)
    if not problems and len(spool.encode()) > _MAX_SPOOL_BYTES:
        problems.append(f"The path of the spool is longer than {_MAX_SPOOL_BYTES} bytes, too long for the wire.")
    return problems


def _prefix_problems(prefix: str) -> list[str]:
    if not prefix:
        return []
    parts = prefix.removesuffix("/").split("/")
    if any(part in ("", ".", "..", ".librarian") or name_problem(part) for part in parts):
        return ["'prefix' must be plain names with slashes between them, without '..' and without a slash before it."]
    if len(prefix.encode()) > _MAX_PREFIX_BYTES:
        return [f"'prefix' is longer than {_MAX_PREFIX_BYTES} bytes."]
    return []


def _endpoint_problems(url: str) -> list[str]:
    if not url:
        return []
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and (parts.port is None or parts.port > 0)
        good = good and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        return ["'endpoint_url' must be the address of an S3 service, such as https://s3.example.org."]
    if parts.username or parts.password:
        return ["'endpoint_url' must not carry credentials: they come from the AWS configuration of the server's user."]
    return []
