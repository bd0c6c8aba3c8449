"""Pages and endpoints that stand for any page and any endpoint, before the real ones of the site."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.levels import Level
from accounts.pages import page_level
from accounts.permissions import level_of, level_required, wire_level_required
from librarian import urls as real
from librarian.common.wire import WireView


class Whoami(APIView):
    """READONLY, in version 3."""

    def get(self, request):
        return Response({"username": request.user.username, "level": level_of(request)})

    post = get


class Strict(Whoami):
    permission_classes = [level_required(Level.READWRITE)]


class WireCallback(Whoami):
    authentication_classes = WireView.authentication_classes
    permission_classes = [wire_level_required(Level.CALLBACK)]


def page(request):
    return HttpResponse("a page")


handler403 = real.handler403
handler404 = real.handler404
handler500 = real.handler500

urlpatterns = [
    path("page/", page),
    path("open/", login_not_required(lambda request: HttpResponse("open"))),
    path("writers/", page_level(Level.READWRITE)(lambda request: HttpResponse("for writers"))),
    path("api/v3/whoami", Whoami.as_view()),
    path("api/v3/strict", Strict.as_view()),
    path("api/v2/callback", WireCallback.as_view()),
    *real.urlpatterns,
]
