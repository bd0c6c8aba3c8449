"""What each kind of store is configured with, in the words of people: for forms, commands and pages.

What is right and wrong in a configuration is known to the backends (`check_configuration`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from stores.models import Store


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a configuration."""

    key: str
    label: str
    help_text: str
    is_optional: bool = False


_STAGING = "Absolute path on the same file system. Empty: .librarian/staging in the directory."

SETTINGS: dict[str, tuple[Setting, ...]] = {
    Store.Kind.POSIX: (
        Setting("root", "Directory", "Absolute path of the directory that holds the files, as its hosts see it."),
        Setting("staging", "Staging area", _STAGING, is_optional=True),
    ),
    Store.Kind.SSH: (
        Setting(
            "host", "Host", "The storage node, maybe user@host. Port, key and jumps come from the ssh configuration."
        ),
        Setting("root", "Directory", "Absolute path over there of the directory that holds the files."),
        Setting("staging", "Staging area", _STAGING, is_optional=True),
        Setting("python", "Python", "Name or path of Python over there. Empty: python3.", is_optional=True),
        Setting(
            "ssh_config",
            "ssh configuration",
            "Absolute path of the file that ssh reads on this machine. Empty: that of the site, else the user's own.",
            is_optional=True,
        ),
        Setting(
            "node_ssh_config",
            "ssh configuration over there",
            "Absolute path on the storage node of the file by which it reaches other sites. Empty: its user's own.",
            is_optional=True,
        ),
    ),
    Store.Kind.S3: (
        Setting("bucket", "Bucket", "Name of the bucket. It must exist."),
        Setting("prefix", "Prefix", "What the names of its objects begin with. Empty: nothing.", is_optional=True),
        Setting(
            "endpoint_url",
            "Address of the service",
            "Such as https://s3.example.org. Empty: that of AWS.",
            is_optional=True,
        ),
        Setting("region", "Region", "Empty: that of the profile.", is_optional=True),
        Setting(
            "profile",
            "Profile",
            "Name in the AWS configuration files of the server's user, where the keys are. Empty: default.",
            is_optional=True,
        ),
        Setting("spool", "Spool", "Absolute path of a directory on this machine, where deliveries wait."),
    ),
}
_OF_ADDRESS = ("host", "root", "bucket", "prefix", "endpoint_url")
_QUOTED = re.compile(r"'(\w+)'")


def setting_blamed(kind: str, sentence: str) -> str:
    """The key that a sentence of `check_configuration` is about: the first in quotes, else the first of the kind."""
    keys = [setting.key for setting in SETTINGS[kind]]
    return next((key for key in _QUOTED.findall(sentence) if key in keys), keys[0])


def where(store: Store) -> str:
    """Where the bytes of a store lie, in a line. Never anything that opens it."""
    told = {key: str(value) for key, value in store.configuration.items() if value}
    if store.kind == Store.Kind.SSH:
        return f"{told.get('host', '')}:{told.get('root', '')}"
    if store.kind == Store.Kind.S3:
        bucket = f"s3://{told.get('bucket', '')}/{told.get('prefix', '')}".rstrip("/")
        return f"{bucket} at {without_secrets(told['endpoint_url'])}" if "endpoint_url" in told else bucket
    return told.get("root", "")


def settings_shown(store: Store) -> Sequence[tuple[str, str]]:
    """What a configuration says besides the address, as label and value."""
    labels = {setting.key: setting.label for setting in SETTINGS.get(store.kind, ()) if setting.key not in _OF_ADDRESS}
    return [(label, str(store.configuration[key])) for key, label in labels.items() if store.configuration.get(key)]


def without_secrets(text: str) -> str:
    """An address without user and password; any other text as it is."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
