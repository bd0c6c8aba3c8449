"""How the staff admin writes times: every page of the site tells UTC and says so."""
