"""The sender's work: what is chosen, offered, sent and told, and what became of it."""
