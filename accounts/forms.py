"""Forms of the portal's account pages, and the login form that the staff admin shares."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.core.validators import MaxLengthValidator
from django.utils.timezone import now

from accounts.levels import MEANINGS, Level
from accounts.models import User
from accounts.rules import LONGEST_PASSWORD


class BoundedInput:
    """Refuses what no account can have before it reaches the database or a hasher.

    Django tells only the browser how long a name may be.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].validators.append(MaxLengthValidator(self.fields["username"].max_length))
        self.fields["password"].validators.append(MaxLengthValidator(LONGEST_PASSWORD))


class LoginForm(BoundedInput, AuthenticationForm):
    """Login of the portal."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This username and password do not belong together. In both, capital letters count.",
    }


class StaffLoginForm(BoundedInput, AdminAuthenticationForm):
    """Login of the staff admin."""


class TokenForm(forms.Form):
    """What a person says of a new token of theirs."""

    name = forms.CharField(
        max_length=64, label="Name", help_text="What it is for, so that you know which one to revoke."
    )
    level = forms.TypedChoiceField(coerce=int, label="It may")
    days = forms.TypedChoiceField(
        coerce=int,
        label="Valid for",
        choices=[(30, "30 days"), (90, "90 days"), (365, "a year"), (0, "until revoked")],
        initial=90,
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        levels = [level for level in Level if Level.NONE < level <= user.level]
        self.fields["level"].choices = [(level.value, f"{level.label}: {MEANINGS[level]}") for level in levels]

    def expires_at(self) -> datetime | None:
        """When the token ends, None for never."""
        days = self.cleaned_data["days"]
        return now() + timedelta(days=days) if days else None


class PasswordForm(forms.Form):
    """The present password and the next one, twice."""

    old_password = forms.CharField(
        label="Present password",
        strip=False,
        max_length=LONGEST_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new_password = forms.CharField(
        label="New password",
        strip=False,
        max_length=LONGEST_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="10 characters at least; a sentence is easier to remember than a riddle.",
    )
    repeated = forms.CharField(
        label="New password again",
        strip=False,
        max_length=LONGEST_PASSWORD,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "repeated" in cleaned and cleaned.get("new_password") != cleaned["repeated"]:
            self.add_error("repeated", "The two new passwords are not the same.")
        return cleaned
