"""Staff pages of the accounts floor: accounts with their levels, tokens, and who is locked out.

Everything goes through the services, so that their rules and the audit trail hold here too.
"""

from typing import Any

from axes.models import AccessAttempt
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin  # noqa: F401  registers Group, which is taken away again below
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from accounts import admin_secrets, services
from accounts.addresses import client_address
from accounts.admin_forms import NewUserForm, UserForm, level_choices
from accounts.forms import StaffLoginForm
from accounts.levels import Level
from accounts.lockout import clear_lock, lock_ends_at, locked_pairs, with_lock_state
from accounts.models import ApiToken, Invitation, User
from librarian.common.admin import ReadOnlyAdmin, ReadOnlyInline
from librarian.common.errors import ArchiveError

admin.site.unregister(Group)  # levels say who may do what; Django's groups would be a second, unread answer
admin.site.login_form = StaffLoginForm


class TokenInline(ReadOnlyInline):
    model = ApiToken
    fields = ["name", "hint", "level", "created_at", "expires_at", "revoked_at", "last_used_at"]


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    """People, instruments and other sites."""

    list_display = ["username", "level", "is_active", "lock_state", "last_used_at", "kind", "full_name"]
    list_filter = ["level", "kind", "is_active"]
    search_fields = ["username", "full_name", "email"]
    readonly_fields = ["username", "created_at", "last_login", "last_used_at", "lock_state"]
    actions = ["clear_locks"]
    change_form_template = "admin/accounts/user/change_form.html"

    # --- What is shown ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return with_lock_state(super().get_queryset(request))

    @admin.display(description="locked out")
    def lock_state(self, user: User) -> str:
        ends_at = getattr(user, "locked_until", None)
        return f"until {ends_at:%H:%M} UTC" if ends_at else "no"

    def get_form(self, request: HttpRequest, obj: User | None = None, **kwargs: Any) -> type[forms.ModelForm]:
        return super().get_form(request, obj, **{"form": UserForm if obj else NewUserForm, **kwargs})

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        if obj is None:
            return ["username", "kind", "level", "full_name", "email", "new_password", "tokens_only"]
        return ["username", *UserForm.Meta.fields, *self.readonly_fields[1:]]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return self.readonly_fields if obj else []

    def get_inlines(self, request: HttpRequest, obj: User | None) -> list[type[admin.TabularInline]]:
        return [TokenInline] if obj else []

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "level":
            kwargs["choices"] = level_choices(request.user.level)
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    # --- What is done ---

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        names = UserForm.Meta.fields if change else NewUserForm.Meta.fields
        given = {name: form.cleaned_data[name] for name in names if name in form.cleaned_data}
        if change:
            services.update_user(actor=request.user, user=obj, address=_address(request), **given)
            return
        typed, tokens_only = form.cleaned_data["new_password"], form.cleaned_data["tokens_only"]
        password = None if tokens_only else typed or services.new_password()
        user = services.create_user(actor=request.user, password=password, address=_address(request), **given)
        obj.pk = user.pk
        request.generated_password = "" if typed or tokens_only else password

    def response_add(self, request: HttpRequest, obj: User, post_url_continue: str | None = None) -> HttpResponse:
        if request.generated_password:
            return admin_secrets.show_once(request, obj, f"The account {obj} is made", request.generated_password)
        return super().response_add(request, obj, post_url_continue)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        services.delete_user(actor=request.user, user=obj, address=_address(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            services.delete_user(actor=request.user, user=user, address=_address(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        listed, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        goes_with_it = {model._meta.verbose_name for model in (ApiToken, Invitation)}
        return listed, counts, forbidden - goes_with_it, protected

    @admin.action(description="Clear the locks of selected accounts")
    def clear_locks(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            clear_lock(actor=request.user, username=user.username, from_address=_address(request))
        self.message_user(request, "The locks are cleared.", messages.SUCCESS)

    # --- Pages ---

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:pk>/password/", wrap(admin_secrets.reset_password), name="accounts_user_reset_password"),
            path("<int:pk>/token/", wrap(admin_secrets.issue_token), name="accounts_user_issue_token"),
            *super().get_urls(),
        ]

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _or_say_why(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _or_say_why(request, super().delete_view, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _or_say_why(request, super().changelist_view, *args, **kwargs)


@admin.register(ApiToken)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens; issued from the page of their account."""

    list_display = ["name", "user", "hint", "level", "state", "created_at", "expires_at", "last_used_at"]
    list_filter = ["level", "revoked_at", "expires_at"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username", "hint"]
    exclude = ["digest"]
    actions = ["revoke"]

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        if token.revoked_at is not None:
            return "revoked"
        if not token.is_usable:
            return "expired"
        held = services.effective_level(token)
        return "worth nothing: its account is closed or has no level" if held == Level.NONE else f"worth {held.label}"

    @admin.action(description="Revoke selected tokens")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset.select_related("user"):
            services.revoke_token(actor=request.user, token=token, address=_address(request))
        self.message_user(request, "The selected tokens are revoked; nothing opens with them.", messages.SUCCESS)


@admin.register(AccessAttempt)
class LoginLockAdmin(ReadOnlyAdmin):
    """Wrong passwords counted per account name and address; from the limit on, the pair is locked."""

    list_per_page = 50  # each line asks for its pair
    list_display = ["username", "ip_address", "failures_since_start", "attempt_time", "locked_until"]
    list_filter = ["attempt_time"]
    search_fields = ["username", "ip_address"]
    fields = ["username", "ip_address", "failures_since_start", "attempt_time", "locked_until", "path_info"]
    actions = ["clear"]

    @admin.display(description="locked until")
    def locked_until(self, attempt: AccessAttempt) -> Any:
        pairs = locked_pairs().filter(username=attempt.username, ip_address=attempt.ip_address)
        return next((lock_ends_at(pair["newest"]) for pair in pairs), None)

    @admin.action(description="Clear selected locks")
    def clear(self, request: HttpRequest, queryset: QuerySet[AccessAttempt]) -> None:
        for username, address in set(queryset.values_list("username", "ip_address")):
            clear_lock(actor=request.user, username=username, address=address, from_address=_address(request))
        self.message_user(request, "The selected locks are cleared.", messages.SUCCESS)


def _or_say_why(request: HttpRequest, view: Any, *args: Any, **kwargs: Any) -> HttpResponse:
    """Run a view of the admin; what a service refuses is shown as a message, and nothing is changed."""
    try:
        return view(request, *args, **kwargs)
    except ArchiveError as problem:
        messages.error(request, f"{problem.reason} {problem.suggested_remedy}")
        return redirect(request.get_full_path())


def _address(request: HttpRequest) -> str:
    return client_address(request) or ""
