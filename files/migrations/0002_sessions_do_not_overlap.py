"""On PostgreSQL sessions are kept apart by an exclusion constraint; SQLite has triggers of the same purpose (files/sql)."""

from typing import Any

from django.db import migrations

CREATE = """
ALTER TABLE files_observingsession ADD CONSTRAINT sessions_do_not_overlap
EXCLUDE USING gist (numrange(start_jd::numeric, stop_jd::numeric, '[)') WITH &&)
"""
DROP = "ALTER TABLE files_observingsession DROP CONSTRAINT sessions_do_not_overlap"


def _on_postgresql(statement: str) -> Any:
    def run(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(statement)

    return run


class Migration(migrations.Migration):
    dependencies = [("files", "0001_initial")]
    operations = [migrations.RunPython(_on_postgresql(CREATE), _on_postgresql(DROP))]
