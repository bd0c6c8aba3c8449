"""Changing the key under which secrets lie in the database."""

from dataclasses import dataclass, field

from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.sealing import UnreadableSecret, encryption_keys, reseal
from network.models import Peer


@dataclass(slots=True)
class Rotation:
    """What was done: how many secrets got the first key, had it already, and whose cannot be read any more."""

    changed: int = 0
    kept: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate_secrets(*, actor: User | None, address: str = "") -> Rotation:
    """Encrypt every secret that is kept with the first key. Safe to repeat, and while the site runs.

    Raises Misconfigured when the keys cannot be used; nothing is changed then.
    """
    encryption_keys()
    done = Rotation()
    for key, name in Peer.objects.order_by("pk").values_list("pk", "name"):
        _rotate(key, name, done)
    facts = {"changed": done.changed, "kept": done.kept, "unreadable": done.unreadable}
    record_act(actor=actor, action="rotate_encryption_key", subject="secrets of peers", facts=facts, address=address)
    return done


def _rotate(key: int, name: str, done: Rotation) -> None:
    """Compare-and-set, again until nobody changed the secret in between."""
    while sealed := Peer.objects.filter(pk=key).values_list("sealed_authenticator", flat=True).first():
        try:
            fresh = reseal(sealed)
        except UnreadableSecret:
            done.unreadable.append(name)
            return
        if fresh is None:
            done.kept += 1
            return
        if Peer.objects.filter(pk=key, sealed_authenticator=sealed).update(sealed_authenticator=fresh):
            done.changed += 1
            return
