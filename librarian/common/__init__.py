"""Ground floor: what every app needs and what knows no app (errors, moves, jobs, paging)."""
