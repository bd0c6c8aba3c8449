-- librarian_refuse() stands in librarian/common/sql.

CREATE OR REPLACE FUNCTION librarian_only_obsid_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (to_jsonb(NEW) - 'obsid') IS DISTINCT FROM (to_jsonb(OLD) - 'obsid') THEN
    RAISE EXCEPTION 'file_never_changes: of a file only obsid may change'
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;

DROP TRIGGER IF EXISTS file_never_changes ON files_file;
CREATE TRIGGER file_never_changes BEFORE UPDATE ON files_file
  FOR EACH ROW EXECUTE FUNCTION librarian_only_obsid_changes();

DROP TRIGGER IF EXISTS file_is_never_deleted ON files_file;
CREATE TRIGGER file_is_never_deleted BEFORE DELETE ON files_file
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('a name is for ever');

DROP TRIGGER IF EXISTS member_never_changes ON files_filemember;
CREATE TRIGGER member_never_changes BEFORE UPDATE ON files_filemember
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('members are part of an immutable file');

DROP TRIGGER IF EXISTS member_is_never_deleted ON files_filemember;
CREATE TRIGGER member_is_never_deleted BEFORE DELETE ON files_filemember
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('members are part of an immutable file');

DROP TRIGGER IF EXISTS event_never_changes ON files_fileevent;
CREATE TRIGGER event_never_changes BEFORE UPDATE ON files_fileevent
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('history is only appended');

DROP TRIGGER IF EXISTS event_is_never_deleted ON files_fileevent;
CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON files_fileevent
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('history is only appended');
