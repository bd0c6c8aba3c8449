"""Forms of the staff admin's account pages. They check what a person typed; the services have the last word."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.timezone import now

from accounts.levels import MEANINGS, Level
from accounts.models import User
from accounts.rules import LONGEST_PASSWORD, check_new_password
from librarian.common.errors import InvalidRequest

LONGEST_DAYS = 36_500


def level_choices(most: int, *, least: int = Level.NONE) -> list[tuple[int, str]]:
    """Levels from `least` to `most`, each with what it means."""
    return [(int(level), f"{level.label}: {MEANINGS[level]}") for level in Level if least <= level <= most]


def password_field(**options: Any) -> forms.CharField:
    """A password as it is typed, blanks included."""
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
    return forms.CharField(strip=False, max_length=LONGEST_PASSWORD, widget=widget, **options)


class TypedPassword(forms.Form):
    """A password, or none to have one generated."""

    # Not `password`: the admin would take that for the model's column, which holds the hash.
    new_password = password_field(
        required=False,
        label="Password",
        help_text="Leave it empty to have one generated, which is shown once after saving.",
    )

    def check_password(self, user: User) -> None:
        password = self.cleaned_data.get("new_password")
        if not password:
            return
        try:
            check_new_password(password, user, weak_password_ok=False)
        except InvalidRequest as problem:
            self.add_error("new_password", problem.reason.removeprefix("password: "))


class NewUserForm(TypedPassword, forms.ModelForm):
    """A new account."""

    tokens_only = forms.BooleanField(
        required=False, label="No password", help_text="For programs: only tokens open the account."
    )

    class Meta:
        model = User
        fields = ("username", "kind", "level", "full_name", "email")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("tokens_only") and cleaned.get("new_password"):
            self.add_error("tokens_only", "Either a password or none.")
        self.check_password(User(username=cleaned.get("username") or "", full_name=cleaned.get("full_name") or ""))
        return cleaned


class UserForm(forms.ModelForm):
    """What can be changed of an account; the password has a page of its own."""

    class Meta:
        model = User
        fields = ("kind", "level", "is_active", "full_name", "email")


class ResetPasswordForm(TypedPassword):
    """Another password for an account."""

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        self.check_password(self.user)
        return cleaned


class TokenForm(forms.Form):
    """A token for an account."""

    name = forms.CharField(max_length=64, help_text="What it is for; unique among the account's live tokens.")
    level = forms.TypedChoiceField(coerce=int)
    expires_days = forms.FloatField(
        required=False, min_value=0.01, max_value=LONGEST_DAYS, label="Valid for (days)", help_text="Empty: no end."
    )

    def __init__(self, *args: Any, user: User, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["level"].choices = level_choices(min(user.level, actor.level), least=Level.READONLY)
        self.fields["level"].initial = user.level

    def expires_at(self) -> datetime | None:
        """When the token ends, None for never."""
        days = self.cleaned_data["expires_days"]
        return now() + timedelta(days=days) if days else None
