"""Secrets in the database: sealed with the first key, opened with any, and never opened with another."""

import re

import pytest

from librarian.common.errors import Misconfigured
from librarian.common.keys import new_fernet_key
from librarian.common.sealing import SEALED, UnreadableSecret, reseal, seal, unseal

pytestmark = pytest.mark.database_independent
OLD, NEW = new_fernet_key(), new_fernet_key()


def test_what_is_sealed_opens_again_and_shows_nothing(settings):
    settings.LIBRARIAN_ENCRYPTION_KEYS = [OLD]
    secret = "here:pässword:with colons"
    sealed = seal(secret)
    assert re.search(SEALED, sealed)
    assert "word" not in sealed
    assert unseal(sealed) == secret
    assert seal(secret) != sealed  # equal secrets cannot be told


@pytest.mark.parametrize("keys", [[NEW, OLD], [f"{NEW}\n{OLD}"], [f" {NEW} , {OLD} "]])
def test_the_first_key_seals_and_each_opens(settings, keys):
    settings.LIBRARIAN_ENCRYPTION_KEYS = [OLD]
    old = seal("secret")
    settings.LIBRARIAN_ENCRYPTION_KEYS = keys
    assert unseal(old) == "secret"
    fresh = reseal(old)
    assert reseal(fresh) is None
    settings.LIBRARIAN_ENCRYPTION_KEYS = [NEW]
    assert unseal(fresh) == "secret"
    with pytest.raises(UnreadableSecret):
        unseal(old)


def test_a_changed_secret_does_not_open(settings):
    settings.LIBRARIAN_ENCRYPTION_KEYS = [OLD]
    sealed = seal("secret")
    for changed in (sealed[:-6] + "AAAA==", "", "here:secret"):
        with pytest.raises(UnreadableSecret):
            unseal(changed)


@pytest.mark.parametrize("keys", [[], ["  "], ["not a key"], [OLD, "short"]])
def test_what_is_no_key_is_said_without_repeating_it(settings, keys):
    settings.LIBRARIAN_ENCRYPTION_KEYS = keys
    with pytest.raises(Misconfigured) as refused:
        seal("secret")
    assert not any(key.strip() and key in str(refused.value.as_answer()) for key in keys)
