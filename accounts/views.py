"""Pages of one's own account: who am I, my tokens, my password. Other people's accounts are in the staff admin."""

import shlex

from django.contrib import messages
from django.contrib.auth import authenticate, update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import services
from accounts.addresses import client_address
from accounts.forms import PasswordForm, TokenForm
from accounts.levels import MEANINGS, Level
from accounts.models import ApiToken
from accounts.pages import page_level
from librarian.common.errors import ArchiveError

CALL_EXAMPLE = """\
export LIBRARIAN_TOKEN=…
curl --header "Authorization: Bearer $LIBRARIAN_TOKEN" {url}"""


@page_level(Level.READONLY)
@never_cache
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """My account with its tokens."""
    return _account_page(request, TokenForm(user=request.user))


@page_level(Level.READONLY)
@never_cache
@require_POST
def issue_token(request: HttpRequest) -> HttpResponse:
    """Issue a token and show it, this once: the answer is the page itself, since nothing keeps the text."""
    form = TokenForm(request.POST, user=request.user)
    if not form.is_valid():
        return _account_page(request, form, status=400)
    try:
        token, text = services.issue_token(
            actor=request.user,
            user=request.user,
            name=form.cleaned_data["name"],
            level=form.cleaned_data["level"],
            expires_at=form.expires_at(),
            address=client_address(request) or "",
        )
    except ArchiveError as problem:
        form.add_error(None, f"{problem.reason} {problem.suggested_remedy}")
        return _account_page(request, form, status=problem.status)
    return _account_page(request, TokenForm(user=request.user), issued=token, issued_text=text)


@page_level(Level.READONLY)
@require_POST
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of my tokens."""
    token = ApiToken.objects.filter(user=request.user, pk=pk).select_related("user").first()
    if token is None:
        raise Http404
    services.revoke_token(actor=request.user, token=token, address=client_address(request) or "")
    messages.success(request, f"The token {token.name} is revoked; nothing opens with it any more.")
    return redirect("account")


@page_level(Level.READONLY)
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def change_password(request: HttpRequest) -> HttpResponse:
    """Change my password; other sessions of mine end, this one goes on."""
    form = PasswordForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        # authenticate() and not check_password(): wrong guesses are counted and lock, as at the login.
        known = authenticate(request, username=request.user.username, password=form.cleaned_data["old_password"])
        if known is None:
            form.add_error("old_password", "This is not your present password.")
        elif _set_password(request, form):
            messages.success(request, "Your password is changed. Other sessions and programs need the new one.")
            return redirect("account")
    return render(request, "accounts/change_password.html", {"form": form}, status=400 if form.errors else 200)


def _set_password(request: HttpRequest, form: PasswordForm) -> bool:
    try:
        services.set_password(
            actor=request.user,
            user=request.user,
            password=form.cleaned_data["new_password"],
            address=client_address(request) or "",
        )
    except ArchiveError as problem:
        form.add_error("new_password", problem.reason.removeprefix("password: "))
        return False
    update_session_auth_hash(request, request.user)
    return True


def _account_page(
    request: HttpRequest, form: TokenForm, *, issued: ApiToken | None = None, issued_text: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "form": form,
        "issued": issued,
        "issued_text": issued_text,
        "tokens": list(request.user.tokens.filter(revoked_at__isnull=True)),
        "revoked_tokens": list(request.user.tokens.filter(revoked_at__isnull=False)[:20]),
        "level": Level(request.user.level),
        "meaning": MEANINGS[Level(request.user.level)],
        "token_example": CALL_EXAMPLE.format(url=shlex.quote(request.build_absolute_uri(reverse("v3-files")))),
    }
    return render(request, "accounts/account.html", context, status=status)
