DROP TRIGGER IF EXISTS audit_never_changes;

CREATE TRIGGER audit_never_changes BEFORE UPDATE OF id, at, actor_name, address, action, subject, facts ON common_auditentry
BEGIN
  SELECT RAISE(ABORT, 'audit_never_changes: the audit trail is only appended');
END;

DROP TRIGGER IF EXISTS audit_is_never_deleted;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON common_auditentry
BEGIN
  SELECT RAISE(ABORT, 'audit_is_never_deleted: the audit trail is only appended');
END;
