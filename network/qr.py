"""Text as a QR symbol, drawn as SVG that stands in a page: no script, no style, readable on paper and on a screen."""

import segno
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

QUIET_MODULES = 4  # white around it, as ISO/IEC 18004 wants


def qr_svg(text: str, *, words: str) -> SafeString:
    """A symbol of `text`; `words` say to those who do not see it what it is."""
    symbol = segno.make(text, error="m", micro=False)
    drawing = symbol.svg_inline(omitsize=True, border=QUIET_MODULES, light="#fff", dark="#000", svgclass=None)
    # segno draws paths of numbers; the text itself does not stand in the drawing
    return format_html('<div class="qr" role="img" aria-label="{}">{}</div>', words, mark_safe(drawing))  # noqa: S308
