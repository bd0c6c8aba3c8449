"""Ways to move the bytes of a batch to a peer, one module each. `base` is their contract, `choice` picks one."""
