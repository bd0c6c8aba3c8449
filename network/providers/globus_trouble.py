"""What Globus answers when it does not do what was asked, as problems of ours with a reason and a remedy.

The library's own errors carry the whole answer of the service; they are never logged or chained.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import globus_sdk

from librarian.common.texts import storable
from network.providers.base import CouldNotStart

REASON_CHARACTERS = 500


class GlobusProblem(CouldNotStart):
    """Globus could not be asked, or refuses. `is_unsure`: what was asked for may have been done all the same."""

    code = "globus_failed"
    remedy = "The reason has its words; app.globus.org shows our tasks and what is wrong with them."
    is_unsure = False


class GlobusUnreachable(GlobusProblem):
    code = "globus_unreachable"
    remedy = "It is asked again by itself; status.globus.org says whether the service has trouble."
    is_unsure = True


class GlobusLoginRefused(GlobusProblem):
    code = "globus_login_refused"
    remedy = (
        "Log in again: `manage.py globus_login` (native app), or put a valid client secret (confidential app) into the "
        "file that LIBRARIAN_GLOBUS_SECRET_FILE names."
    )


class GlobusConsentRequired(GlobusProblem):
    code = "globus_consent_required"
    remedy = "Consent to what the reason names: `manage.py globus_login --collection ID` (native app)."


class GlobusForbidden(GlobusProblem):
    code = "globus_forbidden"
    remedy = "Let the identity of our app read our collection, and write to the other site's (its people grant that)."


class GlobusNoCollection(GlobusProblem):
    code = "globus_no_collection"
    remedy = "Compare the id of our collection in the settings or on the store, and that of the other site's store."
    passing = False


class GlobusNoTask(GlobusProblem):
    """The task is not known: of another identity, or long gone."""

    code = "globus_no_task"
    remedy = "It is submitted anew by itself; files that are over there are not sent again."


class GlobusBusy(GlobusProblem):
    """It takes no further task of ours now."""

    code = "globus_busy"
    remedy = "It waits for one of them to end. LIBRARIAN_GLOBUS_TASKS is our own limit."


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Raise what goes wrong while Globus is asked as a GlobusProblem."""
    try:
        yield
    except globus_sdk.GlobusAPIError as error:
        raise _understood(error, doing) from None
    except globus_sdk.NetworkError as error:
        raise GlobusUnreachable(f"Could not {doing}: {storable(str(error), REASON_CHARACTERS)}.") from None
    except (globus_sdk.GlobusError, KeyError, TypeError, ValueError) as error:
        reason = f"Could not {doing}: the answer is not one of Globus ({type(error).__name__})."
        raise GlobusUnreachable(reason) from None


def _understood(error: globus_sdk.GlobusAPIError, doing: str) -> GlobusProblem:
    kind = _kind_of(error)
    said = storable(error.message or error.code or error.http_reason or "", REASON_CHARACTERS).rstrip(".")
    reason = f"Could not {doing}: Globus answers {error.http_status} {said}."
    if kind is GlobusConsentRequired:
        scopes = ", ".join(error.info.consent_required.required_scopes or [])
        reason = f"{reason} Scopes: {scopes or 'none named'}."
    return kind(reason)


def _kind_of(error: globus_sdk.GlobusAPIError) -> type[GlobusProblem]:
    status, code = error.http_status, error.code or ""
    is_login = isinstance(error, globus_sdk.AuthAPIError)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return GlobusUnreachable
    if error.info.consent_required or code == "ConsentRequired":
        return GlobusConsentRequired
    if status == HTTPStatus.UNAUTHORIZED or (is_login and status < HTTPStatus.INTERNAL_SERVER_ERROR):
        return GlobusLoginRefused
    if "TooMany" in code:
        return GlobusBusy
    if status == HTTPStatus.FORBIDDEN:
        return GlobusForbidden
    if status == HTTPStatus.NOT_FOUND or "EndpointNotFound" in code or "EndpointDeleted" in code:
        return GlobusNoCollection
    return GlobusProblem
