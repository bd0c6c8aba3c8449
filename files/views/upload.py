"""Upload in the browser. The page brings the bytes to `/api/v3/uploads/` by itself (static/js/upload.js)."""

import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.levels import Level
from accounts.pages import page_level
from files.services.products import MIRIAD_ITEMS
from files.views import snippets


@page_level(Level.READONLY)
@require_safe
def upload(request: HttpRequest) -> HttpResponse:
    """Drop files here, or read why not."""
    context = {
        "may_upload": request.user.may(Level.READAPPEND),
        "held_level": Level(request.user.level).name,
        "needed_level": Level.READAPPEND.name,
        "endpoint": reverse("v3-uploads"),
        "file_page": reverse("file", args=["-"]).removesuffix("-"),
        "products": json.dumps(settings.LIBRARIAN_DIRECTORY_PRODUCTS),
        "product_items": json.dumps(sorted(MIRIAD_ITEMS)),
        "product_words": settings.LIBRARIAN_DIRECTORY_PRODUCTS,
        "max_bytes": settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES,
        "snippets": snippets.of_upload(request),
    }
    return render(request, "files/upload.html", context)
