"""This site's own name: fixed by the first peer or transfer, because accounts, transfers and copies go by it."""

from django.conf import settings

from files.models import RemoteInstance
from librarian.common.errors import Misconfigured
from librarian.common.models import SiteFact
from network.models import IncomingTransfer, OutgoingTransfer, Peer

KEY = "site_name"


def fix_site_name() -> None:
    """Remember LIBRARIAN_NAME with the first peer or transfer; raise Misconfigured when it was changed afterwards."""
    name = settings.LIBRARIAN_NAME
    fact, _ = SiteFact.objects.get_or_create(key=KEY, defaults={"value": name})
    refuse_changed_name()
    if fact.value != name:
        SiteFact.objects.filter(key=KEY).update(value=name)


def refuse_changed_name() -> None:
    """Raise Misconfigured if other sites know this one by another name than LIBRARIAN_NAME."""
    name = settings.LIBRARIAN_NAME
    fixed = SiteFact.objects.filter(key=KEY).values_list("value", flat=True).first()
    if fixed not in (None, name) and _is_known_elsewhere():
        raise Misconfigured(
            f"Other sites know this one as '{fixed}'; LIBRARIAN_NAME is '{name}'.",
            remedy=f"Set LIBRARIAN_NAME={fixed}: the name of a site with peers cannot change. What may change is "
            "LIBRARIAN_DISPLAYED_NAME.",
        )


def _is_known_elsewhere() -> bool:
    rows = (Peer, RemoteInstance, OutgoingTransfer, IncomingTransfer)
    return any(model.objects.exists() for model in rows)
