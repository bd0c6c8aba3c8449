CREATE OR REPLACE FUNCTION librarian_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%: %', TG_NAME, TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- `actor_id` alone may change: it becomes empty when the account goes; `actor_name` stays.
CREATE OR REPLACE FUNCTION librarian_only_actor_goes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.actor_id IS NOT NULL OR (to_jsonb(NEW) - 'actor_id') IS DISTINCT FROM (to_jsonb(OLD) - 'actor_id') THEN
    RAISE EXCEPTION 'audit_never_changes: the audit trail is only appended'
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;

DROP TRIGGER IF EXISTS audit_never_changes ON common_auditentry;
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON common_auditentry
  FOR EACH ROW EXECUTE FUNCTION librarian_only_actor_goes();

DROP TRIGGER IF EXISTS audit_is_never_deleted ON common_auditentry;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON common_auditentry
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('the audit trail is only appended');
