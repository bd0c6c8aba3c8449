DROP TRIGGER IF EXISTS custody_never_changes;

CREATE TRIGGER custody_never_changes BEFORE UPDATE ON network_custodystep
BEGIN
  SELECT RAISE(ABORT, 'custody_never_changes: who had a disk when is only appended');
END;

DROP TRIGGER IF EXISTS custody_is_never_deleted;

CREATE TRIGGER custody_is_never_deleted BEFORE DELETE ON network_custodystep
BEGIN
  SELECT RAISE(ABORT, 'custody_is_never_deleted: who had a disk when is only appended');
END;
