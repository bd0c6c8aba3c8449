"""Sites that we know: added, paired, tried, called, removed."""
