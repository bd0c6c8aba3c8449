"""The receiver's work: offers accepted, bytes taken in, senders told."""
