"""Network: the sites we know and the files on their way to and from them."""
