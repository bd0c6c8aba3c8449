"""Line drawings of the portal, on a field of 20 by 20."""

ICONS: dict[str, str] = {
    # An observatory's dome with its slit.
    "home": '<path d="M3 12a7 7 0 0 1 14 0"/><path d="M2 12h16M4 12v5h12v-5"/><path d="m10 5 3-2.5"/>',
    "search": '<circle cx="8.5" cy="8.5" r="5.5"/><path d="m12.8 12.8 4.7 4.7"/>',
    "file": '<path d="M5 2.5h6.5L15.5 6v11.5H5z"/><path d="M11.5 2.5V6h4"/>',
    "folder": '<path d="M2.5 16V4.5h5l2 2.5h8v9z"/>',
    "store": '<ellipse cx="10" cy="4.8" rx="6.5" ry="2.3"/>'
    '<path d="M3.5 4.8v10.4c0 1.3 2.9 2.3 6.5 2.3s6.5-1 6.5-2.3V4.8"/>'
    '<path d="M3.5 10c0 1.3 2.9 2.3 6.5 2.3s6.5-1 6.5-2.3"/>',
    "remote": '<circle cx="10" cy="10" r="7.5"/><path d="M2.5 10h15M10 2.5c3 2.5 3 12.5 0 15-3-2.5-3-12.5 0-15z"/>',
    "transfer": '<path d="M3 7h13M12.5 3.5 16 7l-3.5 3.5"/><path d="M17 13.5H4M7.5 10 4 13.5 7.5 17"/>',
    "order": '<path d="M4.5 2.5h11v15h-11z"/><path d="M7.5 7h5M7.5 10.5h5M7.5 14h3"/>',
    "copies": '<rect x="3" y="3" width="9" height="9" rx="1.5"/><path d="M15 8h2v9H8v-2"/>'
    '<path d="M7.5 5.5v4M5.5 7.5h4"/>',
    "disk": '<path d="m5 4.5-2.5 7v4h15v-4l-2.5-7z"/><path d="M2.5 11.5h15M14.5 13.5v.1M11.5 13.5v.1"/>',
    "errors": '<path d="M10 3 18 16.5H2z"/><path d="M10 8v4M10 14.2v.1"/>',
    "jobs": '<circle cx="10" cy="10" r="7.5"/><path d="M10 5.5V10l3.2 2"/>',
    "account": '<circle cx="10" cy="6.5" r="3.5"/><path d="M3 17.5c0-4 3-5.5 7-5.5s7 1.5 7 5.5"/>',
    "staff": '<circle cx="6.5" cy="10" r="3.5"/><path d="M10 10h8M15 10v3M18 10v2"/>',
    "api": '<path d="M7 3.5c-2.5 0-2 2-2 3.5S4 10 2.5 10C4 10 5 11.5 5 13s-.5 3.5 2 3.5"/>'
    '<path d="M13 3.5c2.5 0 2 2 2 3.5s1 3 2.5 3c-1.5 0-2.5 1.5-2.5 3s.5 3.5-2 3.5"/>',
    "out": '<path d="M8 3H3.5v14H8"/><path d="M8 10h9.5M14 6.5l3.5 3.5-3.5 3.5"/>',
    "theme": '<circle cx="10" cy="10" r="7"/><path d="M10 3v14a7 7 0 0 0 0-14z" fill="currentColor"/>',
    "menu": '<path d="M3 5.5h14M3 10h14M3 14.5h14"/>',
    "copy": '<rect x="7" y="7" width="10" height="10" rx="1.5"/><path d="M13 4.5V3H3v10h1.5"/>',
    "download": '<path d="M10 2.5V13M5.5 8.8 10 13.2l4.5-4.4M3 17h14"/>',
    "upload": '<path d="M10 13V2.5M5.5 6.8 10 2.4l4.5 4.4M3 17h14"/>',
    "check": '<path d="m4 10.5 4 4 8-9"/>',
    "cross": '<path d="m5 5 10 10M15 5 5 15"/>',
    "alert": '<path d="M10 3v9M10 16v.2"/>',
    "info": '<path d="M10 9v7M10 4.5v.2"/>',
    "dot": '<circle cx="10" cy="10" r="3"/>',
    "star": '<path d="m10 2.5 2 5.5 5.5 2-5.5 2-2 5.5-2-5.5L2.5 10 8 8z"/>',
}
