"""The whole machine API on one page: `/api/v2/` the wire protocol, `/api/v3/` resources.

On the wire only `ping/` ends in a slash; a path with the wrong ending is redirected to the right one (307).
"""

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from accounts.api import v3 as accounts_v3
from accounts.api import wire as accounts_wire
from files.api import copies as copies_v3
from files.api import v3 as files_v3
from files.api import wire as files_wire
from files.api import wire_search
from files.api.archive import FileArchive
from files.api.content import FileContent
from files.api.uploads import UploadCommit, UploadDetail, UploadList
from librarian.common.wire import unknown_endpoint
from librarian.operations import api as operations_v3
from librarian.operations import openapi
from librarian.operations import wire as operations_wire
from librarian.operations.site import SiteFacts
from network.api import orders as orders_v3
from network.api import shipments as shipments_v3
from network.api import v3 as network_v3
from network.api import wire as network_wire
from network.api import wire_checkin, wire_clone, wire_instances, wire_manifest, wire_offers
from network.api.pairing import Pairing, PairingCheck
from stores import api as stores_v3
from stores import wire as stores_wire

accounts_router = SimpleRouter(use_regex_path=True)
accounts_router.register("users", accounts_v3.UserViewSet, basename="v3-users")
accounts_router.register("tokens", accounts_v3.TokenViewSet, basename="v3-tokens")

wire = [
    # Who answers, and who am I to it.
    path("ping/", operations_wire.Ping.as_view()),
    path("ping/logged", operations_wire.PingLogged.as_view()),
    path("ping/admin", operations_wire.PingAdmin.as_view()),
    # Files in.
    path("upload/stage", files_wire.StageUpload.as_view()),
    path("upload/commit", files_wire.CommitUpload.as_view()),
    path("admin/add_file", files_wire.AddFile.as_view()),
    # Finding.
    path("search/file", wire_search.SearchFiles.as_view()),
    path("search/instance_local", wire_search.SearchInstances.as_view()),
    path("search/error", operations_wire.SearchErrors.as_view()),
    path("error/clear", operations_wire.ClearError.as_view()),
    # Accounts.
    path("users/create", accounts_wire.CreateUser.as_view()),
    path("users/update", accounts_wire.UpdateUser.as_view()),
    path("users/delete", accounts_wire.DeleteUser.as_view()),
    path("users/get", accounts_wire.GetUser.as_view()),
    path("users/password_update", accounts_wire.UpdatePassword.as_view()),
    # Stores and copies.
    path("admin/stores/list", stores_wire.ListStores.as_view()),
    path("admin/stores/state_change", stores_wire.ChangeStoreState.as_view()),
    path("admin/stores/manifest", wire_manifest.StoreManifest.as_view()),
    path("admin/instance/delete_local", files_wire.DeleteLocalInstance.as_view()),
    # Files from site to site: the sender's calls, the receiver's, and both sides' on where transfers stand.
    path("clone/stage", wire_offers.StageClone.as_view()),
    path("clone/batch_stage", wire_offers.StageClones.as_view()),
    path("clone/ongoing", wire_clone.CloneOngoing.as_view()),
    path("clone/staged", wire_clone.CloneStaged.as_view()),
    path("clone/fail", wire_clone.CloneFail.as_view()),
    path("clone/holdings", wire_clone.CloneHoldings.as_view()),
    path("clone/complete", wire_clone.CloneComplete.as_view()),
    path("clone/batch_complete", wire_clone.CloneBatchComplete.as_view()),
    path("checkin/update", wire_checkin.CheckinUpdate.as_view()),
    path("checkin/status", wire_checkin.CheckinStatus.as_view()),
    path("search/instance_remote", wire_instances.SearchRemoteInstances.as_view()),
    path("admin/instance/delete_remote", wire_instances.DeleteRemoteInstance.as_view()),
    # Peers. Servers and clients of the protocol spell the switch differently.
    path("admin/librarians/list", network_wire.ListLibrarians.as_view()),
    path("admin/librarians/add", network_wire.AddLibrarian.as_view()),
    path("admin/librarians/remove", network_wire.RemoveLibrarian.as_view()),
    path("admin/librarians/transfer_status/change", network_wire.ChangeTransferStatus.as_view()),
    path("admin/librarians/transfer_status/set", network_wire.ChangeTransferStatus.as_view()),
    # Whatever else: the right ending, or 404 in the wire's form.
    re_path(r"^.*\Z", unknown_endpoint),
]

resources = [
    path("", SiteFacts.as_view(), name="v3-site"),
    # Files. A file's own address ends in a slash, what belongs to it does not: names may have slashes themselves.
    path("files/", files_v3.FileList.as_view(), name="v3-files"),
    path("files/archive", FileArchive.as_view(), name="v3-files-archive"),
    path("files/<path:name>/content", FileContent.as_view(), name="v3-file-content"),
    path("files/<path:name>/members", files_v3.FileMembers.as_view(), name="v3-file-members"),
    path("files/<path:name>/events", files_v3.FileEvents.as_view(), name="v3-file-events"),
    path("files/<path:name>/", files_v3.FileDetail.as_view(), name="v3-file"),
    path("files/<path:name>", files_v3.FileDetail.as_view(schema=None)),
    path("instances/", files_v3.InstanceList.as_view(), name="v3-instances"),
    # Ways in.
    path("uploads/", UploadList.as_view(), name="v3-uploads"),
    path("uploads/<int:pk>/", UploadDetail.as_view(), name="v3-upload"),
    path("uploads/<int:pk>/commit", UploadCommit.as_view(), name="v3-upload-commit"),
    path("events/", files_v3.EventList.as_view(), name="v3-events"),
    # Stores.
    path("stores/", stores_v3.StoreList.as_view(), name="v3-stores"),
    path("stores/<str:name>/", stores_v3.StoreDetail.as_view(), name="v3-store"),
    path("store-copies/", copies_v3.StoreCopyList.as_view(), name="v3-store-copies"),
    path("store-copies/<int:pk>/", copies_v3.StoreCopyDetail.as_view(), name="v3-store-copy"),
    path("store-copies/<int:pk>/retry/", copies_v3.StoreCopyRetry.as_view(), name="v3-store-copy-retry"),
    path("store-copies/<int:pk>/cancel/", copies_v3.StoreCopyCancel.as_view(), name="v3-store-copy-cancel"),
    path("offloads/", copies_v3.OffloadList.as_view(), name="v3-offloads"),
    path("offloads/<int:pk>/", copies_v3.OffloadDetail.as_view(), name="v3-offload"),
    path("offloads/<int:pk>/pause/", copies_v3.OffloadPause.as_view(), name="v3-offload-pause"),
    path("offloads/<int:pk>/resume/", copies_v3.OffloadResume.as_view(), name="v3-offload-resume"),
    path("offloads/<int:pk>/stop/", copies_v3.OffloadStop.as_view(), name="v3-offload-stop"),
    # Two sites that make each other known. The first is opened by an invitation, not by an account.
    path("pairing/", Pairing.as_view(), name="v3-pairing"),
    path("pairing/check/", PairingCheck.as_view(), name="v3-pairing-check"),
    # Other sites.
    path("peers/", network_v3.PeerList.as_view(), name="v3-peers"),
    path("peers/<str:name>/", network_v3.PeerDetail.as_view(), name="v3-peer"),
    path("transfers/", network_v3.TransferList.as_view(), name="v3-transfers"),
    path("transfers/outgoing/", network_v3.OutgoingList.as_view(), name="v3-outgoing"),
    path("transfers/outgoing/<int:pk>/", network_v3.OutgoingDetail.as_view(), name="v3-outgoing-transfer"),
    path("transfers/outgoing/<int:pk>/retry/", network_v3.OutgoingRetry.as_view(), name="v3-outgoing-retry"),
    path("transfers/outgoing/<int:pk>/cancel/", network_v3.OutgoingCancel.as_view(), name="v3-outgoing-cancel"),
    path("transfers/incoming/", network_v3.IncomingList.as_view(), name="v3-incoming"),
    path("transfers/incoming/<int:pk>/", network_v3.IncomingDetail.as_view(), name="v3-incoming-transfer"),
    path("transfers/incoming/<int:pk>/cancel/", network_v3.IncomingCancel.as_view(), name="v3-incoming-cancel"),
    path("remote-instances/", network_v3.RemoteInstanceList.as_view(), name="v3-remote-instances"),
    path("standing-orders/", orders_v3.OrderList.as_view(), name="v3-orders"),
    path("standing-orders/<int:pk>/", orders_v3.OrderDetail.as_view(), name="v3-order"),
    # Disks that are carried to other sites.
    path("shipments/", shipments_v3.ShipmentList.as_view(), name="v3-shipments"),
    path("shipments/<int:pk>/", shipments_v3.ShipmentDetail.as_view(), name="v3-shipment"),
    path("shipments/<int:pk>/contents/", shipments_v3.ShipmentContents.as_view(), name="v3-shipment-contents"),
    path("shipments/<int:pk>/hand-over/", shipments_v3.ShipmentHandOver.as_view(), name="v3-shipment-hand-over"),
    path("shipments/<int:pk>/received/", shipments_v3.ShipmentReceived.as_view(), name="v3-shipment-received"),
    path("shipments/<int:pk>/note/", shipments_v3.ShipmentNote.as_view(), name="v3-shipment-note"),
    path("shipments/<int:pk>/lost/", shipments_v3.ShipmentLost.as_view(), name="v3-shipment-lost"),
    # Accounts.
    path("", include(accounts_router.urls)),
    # How the site is doing.
    path("errors/", operations_v3.ErrorList.as_view(), name="v3-errors"),
    path("errors/summary/", operations_v3.ErrorSummary.as_view(), name="v3-error-summary"),
    path("errors/<int:pk>/", operations_v3.ErrorDetail.as_view(), name="v3-error"),
    path("errors/<int:pk>/clear/", operations_v3.ErrorClear.as_view(), name="v3-error-clear"),
    path("jobs/", operations_v3.JobTable.as_view(), name="v3-jobs"),
    path("jobs/runs/", operations_v3.RunList.as_view(), name="v3-job-runs"),
    path("jobs/<str:name>/run/", operations_v3.JobRunNow.as_view(), name="v3-job-run-now"),
    path("audit/", operations_v3.AuditList.as_view(), name="v3-audit"),
    # The description of all this, for programs and for people.
    path("schema/", openapi.Schema.as_view(), name="v3-schema"),
    path("docs/", openapi.Docs.as_view(), name="v3-docs"),
]

urlpatterns = [
    path("v2/", include(wire)),
    path("v3/", include(resources)),
]
