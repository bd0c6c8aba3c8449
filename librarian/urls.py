"""Every portal route of the site on one page; the machine API is in `librarian/api_urls.py`."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from accounts import views as accounts
from accounts.forms import LoginForm
from files.views import archive, copies, file, offloads, search, upload
from librarian.dashboard import views as dashboard
from librarian.operations import health
from librarian.operations import views as operations
from network.views import disks, orders, peers, transfers
from stores import views as stores

login = LoginView.as_view(
    template_name="accounts/login.html", authentication_form=LoginForm, redirect_authenticated_user=True
)

handler400 = "librarian.common.handlers.bad_request"
handler403 = "librarian.common.handlers.permission_denied"
handler404 = "librarian.common.handlers.page_not_found"
handler500 = "librarian.common.handlers.server_error"

urlpatterns = [
    # For people.
    path("", dashboard.home, name="home"),
    path("files/", search.files, name="files"),
    path("files/export", search.export_files, name="export-files"),
    path("files/archive", archive.archive, name="archive"),
    path("upload/", upload.upload, name="upload"),
    path("file/<path:name>", file.file, name="file"),
    path("stores/", stores.stores, name="stores"),
    path("stores/<str:name>/", stores.store, name="store"),
    path("copies/", copies.copies, name="copies"),
    path("copies/want", copies.want, name="want-copy"),
    path("copies/<int:pk>/retry", copies.retry, name="retry-copy"),
    path("copies/<int:pk>/cancel", copies.cancel, name="cancel-copy"),
    path("offloads/", offloads.offloads, name="offloads"),
    path("offloads/new", offloads.new_offload, name="new-offload"),
    path("offloads/<int:pk>/", offloads.offload, name="offload"),
    re_path(
        r"^offloads/(?P<pk>[0-9]{1,9})/(?P<act>pause|resume|stop)\Z", offloads.change_offload, name="change-offload"
    ),
    path("network/", peers.network, name="network"),
    path("network/<str:name>/", peers.peer, name="network-peer"),
    path("network/<str:name>/switch", peers.switch_peer, name="switch-peer"),
    path("network/<str:name>/try", peers.try_peer, name="try-peer"),
    path("network/<str:name>/retry", peers.retry_all, name="retry-all"),
    path("transfers/", transfers.transfers, name="transfers"),
    path("transfers/send", transfers.send, name="send-file"),
    path("transfers/out/<int:pk>/retry", transfers.retry, name="retry-transfer"),
    path("transfers/<str:direction>/<int:pk>/", transfers.transfer, name="transfer"),
    path("transfers/<str:direction>/<int:pk>/cancel", transfers.cancel, name="cancel-transfer"),
    path("standing-orders/", orders.orders, name="orders"),
    path("standing-orders/new", orders.new_order, name="new-order"),
    path("standing-orders/matches", orders.matches, name="order-matches"),
    path("standing-orders/<int:pk>/", orders.order, name="order"),
    path("standing-orders/<int:pk>/switch", orders.switch_order, name="switch-order"),
    path("standing-orders/<int:pk>/remove", orders.forget_order, name="forget-order"),
    path("disks/", disks.disks, name="disks"),
    path("disks/pack", disks.pack_disk, name="pack-disk"),
    path("disks/<int:pk>/", disks.disk, name="disk"),
    path("disks/<int:pk>/manifest", disks.manifest, name="disk-manifest"),
    path("disks/<int:pk>/lost", disks.lose_disk, name="lose-disk"),
    re_path(r"^disks/(?P<pk>[0-9]{1,9})/(?P<step>hand-over|received|note)\Z", disks.enter_step, name="disk-step"),
    path("errors/", operations.errors, name="errors"),
    path("errors/<int:pk>/", operations.error, name="error"),
    path("errors/<int:pk>/clear", operations.clear_error, name="clear-error"),
    path("jobs/", operations.jobs, name="jobs"),
    path("jobs/<str:name>/", operations.job_runs, name="job-runs"),
    path("account/", accounts.account, name="account"),
    path("account/tokens", accounts.issue_token, name="issue-token"),
    path("account/tokens/<int:pk>/revoke", accounts.revoke_token, name="revoke-token"),
    path("account/password", accounts.change_password, name="change-password"),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    # For supervisors and balancers.
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    # For programs.
    path("api/", include("librarian.api_urls")),
    # For staff. Django's own page to change a password would neither count wrong guesses nor record the act.
    path("admin/password_change/", RedirectView.as_view(pattern_name="change-password"), name="change-staff-password"),
    path("admin/", admin.site.urls),
]
