DROP TRIGGER IF EXISTS custody_never_changes ON network_custodystep;
CREATE TRIGGER custody_never_changes BEFORE UPDATE ON network_custodystep
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('who had a disk when is only appended');

DROP TRIGGER IF EXISTS custody_is_never_deleted ON network_custodystep;
CREATE TRIGGER custody_is_never_deleted BEFORE DELETE ON network_custodystep
  FOR EACH ROW EXECUTE FUNCTION librarian_refuse('who had a disk when is only appended');
