"""Portal pages of the network: `peers.py` who trades with us, `transfers.py` what is on its way, `orders.py` what is to
be sent. All of them need a login, also where strangers may read the catalogue.
"""
