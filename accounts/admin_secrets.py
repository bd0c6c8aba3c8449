"""Pages of the staff admin that make a secret and show it once: another password, a token.

The answer to the POST is the page with the secret. A redirect would have to keep it somewhere, and a message would
put it into a cookie.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.forms import Form
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_post_parameters

from accounts import services
from accounts.addresses import client_address
from accounts.admin_forms import ResetPasswordForm, TokenForm
from accounts.models import User
from librarian.common.errors import ArchiveError


@sensitive_post_parameters()
def reset_password(request: HttpRequest, pk: int) -> TemplateResponse:
    """Give an account another password, typed or generated."""
    user = get_object_or_404(User, pk=pk)
    form = ResetPasswordForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data["new_password"]
        password = typed or services.new_password()
        try:
            services.set_password(actor=request.user, user=user, password=password, address=_address(request))
        except ArchiveError as problem:
            form.add_error(None, f"{problem.reason} {problem.suggested_remedy}")
        else:
            if user.pk == request.user.pk:
                update_session_auth_hash(request, user)
            return show_once(request, user, f"The password of {user} is changed", "" if typed else password)
    return _ask(request, user, form, title=f"Another password for {user}", button="Set the password")


def issue_token(request: HttpRequest, pk: int) -> TemplateResponse:
    """Issue a token of an account."""
    user = get_object_or_404(User, pk=pk)
    form = TokenForm(request.POST or None, user=user, actor=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            token, clear_text = services.issue_token(
                actor=request.user,
                user=user,
                name=form.cleaned_data["name"],
                level=form.cleaned_data["level"],
                expires_at=form.expires_at(),
                address=_address(request),
            )
        except ArchiveError as problem:
            form.add_error(None, f"{problem.reason} {problem.suggested_remedy}")
        else:
            return show_once(request, user, f"Token {token.name} of {user}", clear_text)
    return _ask(request, user, form, title=f"A token for {user}", button="Issue the token")


def show_once(request: HttpRequest, user: User, title: str, secret: str) -> TemplateResponse:
    """The page that says what was done, with the secret if we made one."""
    response = _page(request, user, "admin/accounts/shown_once.html", title=title, secret=secret)
    response.headers["Cache-Control"] = "no-store"
    return response


def _ask(request: HttpRequest, user: User, form: Form, *, title: str, button: str) -> TemplateResponse:
    return _page(request, user, "admin/accounts/ask.html", title=title, form=form, button=button)


def _page(request: HttpRequest, user: User, template: str, **context: Any) -> TemplateResponse:
    frame = {**admin.site.each_context(request), "opts": User._meta, "original": user}
    return TemplateResponse(request, template, {**frame, **context})


def _address(request: HttpRequest) -> str:
    return client_address(request) or ""
