DROP TRIGGER IF EXISTS file_never_changes;

CREATE TRIGGER file_never_changes BEFORE UPDATE OF id, name, kind, size_bytes, checksum, digest, uploader, source, registered_at, first_registered_at ON files_file
BEGIN
  SELECT RAISE(ABORT, 'file_never_changes: of a file only obsid may change');
END;

DROP TRIGGER IF EXISTS file_is_never_deleted;

CREATE TRIGGER file_is_never_deleted BEFORE DELETE ON files_file
BEGIN
  SELECT RAISE(ABORT, 'file_is_never_deleted: a name is for ever');
END;

DROP TRIGGER IF EXISTS member_never_changes;

CREATE TRIGGER member_never_changes BEFORE UPDATE ON files_filemember
BEGIN
  SELECT RAISE(ABORT, 'member_never_changes: members are part of an immutable file');
END;

DROP TRIGGER IF EXISTS member_is_never_deleted;

CREATE TRIGGER member_is_never_deleted BEFORE DELETE ON files_filemember
BEGIN
  SELECT RAISE(ABORT, 'member_is_never_deleted: members are part of an immutable file');
END;

DROP TRIGGER IF EXISTS event_never_changes;

CREATE TRIGGER event_never_changes BEFORE UPDATE ON files_fileevent
BEGIN
  SELECT RAISE(ABORT, 'event_never_changes: history is only appended');
END;

DROP TRIGGER IF EXISTS event_is_never_deleted;

CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON files_fileevent
BEGIN
  SELECT RAISE(ABORT, 'event_is_never_deleted: history is only appended');
END;

DROP TRIGGER IF EXISTS sessions_do_not_overlap;

CREATE TRIGGER sessions_do_not_overlap BEFORE INSERT ON files_observingsession
WHEN EXISTS (SELECT 1 FROM files_observingsession WHERE start_jd < NEW.stop_jd AND stop_jd > NEW.start_jd)
BEGIN
  SELECT RAISE(ABORT, 'sessions_do_not_overlap');
END;

DROP TRIGGER IF EXISTS changed_sessions_do_not_overlap;

CREATE TRIGGER changed_sessions_do_not_overlap BEFORE UPDATE ON files_observingsession
WHEN EXISTS (SELECT 1 FROM files_observingsession WHERE id <> OLD.id AND start_jd < NEW.stop_jd AND stop_jd > NEW.start_jd)
BEGIN
  SELECT RAISE(ABORT, 'sessions_do_not_overlap');
END;
