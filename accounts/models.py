"""Users, tokens and invitations. Rules that span rows (grants, tokens, locks) are services."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.levels import Level
from librarian.common.errors import Refused


class UserQuerySet(models.QuerySet["User"]):
    """Conditions on users; deletes never take the last administrator."""

    def administrators(self) -> "UserQuerySet":
        """Active accounts with level ADMIN."""
        return self.filter(level=Level.ADMIN, is_active=True)

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            keep_an_administrator(without=self.values_list("pk", flat=True))
            return super().delete()

    delete.alters_data = True
    delete.queryset_only = True


class UserManager(BaseUserManager.from_queryset(UserQuerySet)):
    """Makes users with a hashed password, or with none that can be used."""

    def create_user(self, username: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(username=username, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(username, password, **{**fields, "level": Level.ADMIN})


class User(AbstractBaseUser, PermissionsMixin):
    """A person, an instrument or another site's Librarian.

    `is_staff` and `is_superuser` are derived from level and active flag on every save and held equal to them by a
    constraint; nothing else sets them.
    """

    class Kind(models.TextChoices):
        PERSON = "person"
        INSTRUMENT = "instrument"
        LIBRARIAN = "librarian"

    username = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z0-9_.@+-]{1,64}\Z", "Letters, digits and _ . @ + - only, 64 at most.")],
    )
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.PERSON)
    full_name = models.CharField(max_length=128, blank=True)
    email = models.EmailField(blank=True)
    level = models.IntegerField(choices=Level, default=Level.NONE)
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField(default=False, editable=False)
    is_superuser = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: list[str] = []

    class Meta:
        ordering = ["username"]
        constraints = [
            models.CheckConstraint(condition=Q(level__in=Level.values), name="user_level_is_known"),
            models.CheckConstraint(condition=~Q(username=""), name="user_has_a_name"),
            models.CheckConstraint(
                condition=Q(level=Level.ADMIN, is_active=True, is_staff=True, is_superuser=True)
                | (~Q(level=Level.ADMIN, is_active=True) & Q(is_staff=False, is_superuser=False)),
                name="staff_is_active_admin",
            ),
        ]

    def __str__(self) -> str:
        return self.username

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.is_staff = self.is_superuser = self.level == Level.ADMIN and self.is_active
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "is_staff", "is_superuser"}
        super().save(*args, **kwargs)

    def get_full_name(self) -> str:
        return self.full_name or self.username

    def get_short_name(self) -> str:
        return self.username

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            keep_an_administrator(without=[self.pk])
            return super().delete(*args, **kwargs)

    def may(self, level: int) -> bool:
        """True if the account is active and reaches `level`."""
        return self.is_active and self.level >= level


def keep_an_administrator(*, without: Iterable[int]) -> None:
    """Raise Refused if no active ADMIN would be left after the accounts `without` lose that.

    Call it inside the transaction that makes the change: it locks every administrator's row, so that of two people
    who demote each other at once the second one sees what the first one did.
    """
    rows = User.objects.select_for_update(no_key=True).administrators().order_by("pk")
    administrators = set(rows.values_list("pk", flat=True))
    if administrators and not administrators - set(without):
        raise Refused(
            "This is the last active account with level ADMIN.", remedy="Give another account level ADMIN first."
        )


class TokenQuerySet(models.QuerySet["ApiToken"]):
    """Conditions on tokens."""

    def usable(self) -> "TokenQuerySet":
        """Neither revoked nor expired."""
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()), revoked_at__isnull=True)


class ApiToken(models.Model):
    """A named credential of a user. Only its SHA-256 is kept; the token itself is shown once, when it is issued."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False, help_text="first characters, to recognise it by")
    level = models.IntegerField(choices=Level)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TokenQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(level__in=Level.values), name="token_level_is_known"),
            models.CheckConstraint(condition=~Q(name=""), name="token_has_a_name"),
            models.UniqueConstraint(
                fields=["user", "name"], condition=Q(revoked_at__isnull=True), name="one_live_token_per_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @property
    def is_usable(self) -> bool:
        """True if neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class Invitation(models.Model):
    """A short-lived one-time code with which another site pairs itself with this one. Only its SHA-256 is kept.

    It counts once. The site that used it may repeat the call, which it proves by what only it can derive from the code.
    """

    code_digest = models.CharField(max_length=64, unique=True, editable=False)
    level = models.IntegerField(choices=Level, help_text="of the account made for whoever accepts")
    site_name = models.CharField(
        max_length=64, blank=True, help_text="the only site that may accept, even if it is known here; empty: a new one"
    )
    created_by = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="invitations",
        help_text="empty: a person at the command line",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True, editable=False)
    accepted_by = models.CharField(max_length=64, blank=True, editable=False)
    proof_digest = models.CharField(max_length=64, blank=True, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(accepted_at__isnull=True, accepted_by="")
                | (Q(accepted_at__isnull=False) & ~Q(accepted_by="")),
                name="accepted_invitation_says_by_whom",
            )
        ]

    def __str__(self) -> str:
        return f"invitation {self.pk}"
