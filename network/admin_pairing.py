"""Pages of the staff admin that pair this site with another one: a code is made, or one is accepted.

The code is in the answer to the POST and nowhere else: a redirect would have to keep it, a message would put it into a
cookie.
"""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_post_parameters

from accounts.addresses import client_address
from accounts.admin_acts import ActsAdmin
from accounts.models import Invitation
from librarian.common.errors import ArchiveError
from network.models import Peer
from network.services.peering.connections import address_notes
from network.services.peering.inviting import LONGEST_MINUTES, withdraw_invitation
from network.services.peering.pairing import accept, invite
from network.services.peering.pairing_code import LONGEST_CODE, Direction, own_address

DIRECTIONS = [
    (Direction.BOTH.value, "both ways"),
    (Direction.SEND.value, "from this site to the other"),
    (Direction.RECEIVE.value, "from the other site to this one"),
]


class InviteForm(forms.Form):
    """What an invitation is for."""

    direction = forms.ChoiceField(choices=DIRECTIONS, label="Files go")
    url = forms.CharField(
        max_length=300,
        label="Address of this site",
        help_text="Where the other site reaches this one, with the port where it has one; the near end of its tunnel "
        "if it uses one.",
    )
    valid_minutes = forms.IntegerField(initial=60, min_value=1, max_value=LONGEST_MINUTES, label="Valid for minutes")
    site_name = forms.CharField(
        max_length=64,
        required=False,
        label="Only for",
        help_text="LIBRARIAN_NAME of the only site that may accept. Needed if it is known here already: its "
        "credentials are then changed.",
    )


class AcceptForm(forms.Form):
    """The code of another site."""

    code = forms.CharField(
        max_length=LONGEST_CODE,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 80, "autocomplete": "off", "spellcheck": "false"}),
        help_text="As the other site shows it, in one piece.",
    )
    url = forms.CharField(
        max_length=300, label="Address of this site", help_text="Where the other site reaches this one."
    )
    direction = forms.ChoiceField(
        choices=[("", "as the other site proposes"), *DIRECTIONS], required=False, label="Files go"
    )
    replace = forms.BooleanField(
        required=False,
        label="It is known here already",
        help_text="Give it the address in the code and fresh credentials.",
    )


@admin.register(Invitation)
class InvitationAdmin(ActsAdmin):
    """Invitations that were made, without their codes; for a while after they ended."""

    list_display = ["id", "level", "site_name", "created_by", "created_at", "expires_at", "accepted_at", "accepted_by"]
    list_select_related = ["created_by"]
    exclude = ["code_digest", "proof_digest"]
    actions = ["withdraw"]

    @admin.action(description="Withdraw the selected invitations")
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        self.each(request, queryset, withdraw_invitation, done="are withdrawn")


def invite_site(request: HttpRequest) -> TemplateResponse:
    """Make a code for another site and show it once."""
    form = InviteForm(request.POST or None, initial={"url": _own_url(request)})
    if request.method == "POST" and form.is_valid():
        try:
            code = invite(actor=request.user, address=client_address(request) or "", **form.cleaned_data)
            notes = address_notes(own_address(form.cleaned_data["url"])[0])
        except ArchiveError as problem:
            form.add_error(None, f"{problem.reason} {problem.suggested_remedy}")
        else:
            minutes = form.cleaned_data["valid_minutes"]
            shown = {"title": "Code of the invitation", "code": code, "notes": notes, "minutes": minutes}
            return _page(request, "admin/network/peer/code.html", **shown)
    return _page(request, "admin/network/peer/ask.html", title="Invite a site", form=form, button="Make the code")


@sensitive_post_parameters("code")
def accept_invitation(request: HttpRequest) -> TemplateResponse:
    """Accept the code of another site and show whether each side reaches the other."""
    form = AcceptForm(request.POST or None, initial={"url": _own_url(request)})
    if request.method == "POST" and form.is_valid():
        try:
            paired = accept(actor=request.user, address=client_address(request) or "", **form.cleaned_data)
        except ArchiveError as problem:
            form.add_error(None, f"{problem.reason} {problem.suggested_remedy}")
        else:
            title = f"Paired with {paired.peer.name}"
            notes = [*paired.notes, *paired.there.notes, *paired.back.notes]
            return _page(request, "admin/network/peer/paired.html", title=title, paired=paired, notes=notes)
    return _page(request, "admin/network/peer/ask.html", title="Accept an invitation", form=form, button="Pair")


def _own_url(request: HttpRequest) -> str:
    return settings.LIBRARIAN_PUBLIC_URL or f"{request.scheme}://{request.get_host()}"


def _page(request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
    frame = {**admin.site.each_context(request), "opts": Peer._meta}
    response = TemplateResponse(request, template, {**frame, **context})
    response.headers["Cache-Control"] = "no-store"
    return response
