"""Trying a peer: each way in which it can be wrong is told apart, and nothing it does holds us up or leads us away."""

import time

import pytest

from librarian.common.models import AuditEntry
from network.calling import MOST_BYTES, Account
from network.errors import NotALibrarian, OtherLibrarian, PeerProblem, PeerRefusesUs, PeerUnreachable
from network.models import Peer
from network.services import check_peer, check_peers, try_connection
from tests.make import make_peer, make_user

OURS = {"name": "north", "displayed_name": "The North", "features": ["tus"]}


def at(server, *, name="north", authenticator="test_librarian:right", url="http://127.0.0.1"):
    port = server if isinstance(server, int) else server.port
    return Account(name, url, port, authenticator)


# --- What is told apart -----------------------------------------------------------------------------------------------


def test_a_peer_that_knows_us_is_fine(standin):
    found = try_connection(at(standin))
    assert 0 < found.latency_seconds < 5
    assert standin.paths == ["v2/ping/", "v2/ping/logged", "v3/"]


def test_a_password_with_colons_arrives_whole(start_standin):
    server = start_standin(authenticator="test_librarian:a:b:c")
    try_connection(at(server, authenticator="test_librarian:a:b:c"))
    with pytest.raises(PeerRefusesUs):
        try_connection(at(server, authenticator="test_librarian:a"))


def test_a_token_is_sent_as_one(start_standin):
    server = start_standin(authenticator="lib_sometoken")
    try_connection(at(server, authenticator="lib_sometoken"))
    assert {given for _, given in server.asked} == {"Bearer lib_sometoken"}


def test_wrong_credentials_are_not_believed_because_ping_answers(standin):
    with pytest.raises(PeerRefusesUs) as refused:
        try_connection(at(standin, authenticator="test_librarian:wrong"))
    assert "wrong" not in str(refused.value.as_answer())


def test_nobody_there(free_port):
    with pytest.raises(PeerUnreachable, match="Connection refused"):
        try_connection(at(free_port))


def test_a_host_that_does_not_exist(free_port):
    with pytest.raises(PeerUnreachable):
        try_connection(at(free_port, url="http://no-such-host.invalid"))
    with pytest.raises(PeerUnreachable, match="no name that could be looked up"):
        try_connection(at(free_port, url=f"http://{'x' * 70}.example.org"))


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"hello": "world"}),
        (200, ["name", "description"]),
        (200, {"name": 1, "description": 2}),
        (200, b"<html>secret of the intranet</html>"),
        (200, b""),
        (404, {"detail": "Not Found"}),
        (405, b""),
    ],
)
def test_something_that_is_no_librarian(standin, answer):
    standin.answers["v2/ping/"] = answer
    with pytest.raises(NotALibrarian) as refused:
        try_connection(at(standin))
    assert "secret" not in str(refused.value.as_answer())
    assert standin.paths == ["v2/ping/"]


def test_a_server_that_answers_every_path_alike_is_no_librarian(standin):
    standin.answers["v2/ping/logged"] = (200, {"welcome": True})
    with pytest.raises(NotALibrarian):
        try_connection(at(standin))


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_peer_in_trouble_is_not_called_something_else(standin, status):
    standin.answers["v2/ping/logged"] = (status, b"Internal Server Error")
    with pytest.raises(PeerProblem, match=str(status)) as refused:
        try_connection(at(standin))
    assert refused.value.code == "peer_failing"


def test_one_of_our_sites_under_another_name_is_refused(standin):
    standin.answers |= {"v2/ping/": (200, {**OURS, "description": ""}), "v3/": (200, OURS)}
    try_connection(at(standin, name="north"))
    with pytest.raises(OtherLibrarian, match="is not called south"):
        try_connection(at(standin, name="south"))


def test_another_servers_name_for_people_proves_nothing_and_is_mentioned(standin):
    found = try_connection(at(standin, name="north"))
    assert any("name for people" in note for note in found.notes)
    standin.answers["v2/ping/"] = (200, {"name": "north", "description": ""})
    assert try_connection(at(standin, name="north")).notes == ()


def test_an_account_of_another_name_is_mentioned(start_standin):
    server = start_standin(authenticator="somebody:right")
    found = try_connection(at(server, authenticator="somebody:right"))
    assert any("called somebody, and this site test_librarian" in note for note in found.notes)


# --- What may not happen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(standin, start_standin, status):
    elsewhere = start_standin()
    location = {"Location": f"http://127.0.0.1:{elsewhere.port}/api/v2/ping/"}
    standin.answers["v2/ping/"] = (status, b"", location)
    with pytest.raises(NotALibrarian, match="leads elsewhere"):
        try_connection(at(standin))
    assert elsewhere.asked == []


def test_an_endless_answer_is_cut(standin):
    standin.answers["v2/ping/"] = (200, b'{"name": "' + b"x" * 2 * MOST_BYTES + b'", "description": ""}')
    with pytest.raises(NotALibrarian, match="more than"):
        try_connection(at(standin))


def test_a_bracket_bomb_is_no_message(standin):
    standin.answers["v2/ping/"] = (200, b"[" * (MOST_BYTES - 1))
    with pytest.raises(NotALibrarian):
        try_connection(at(standin))


def silent(connected, stopped):
    stopped.wait(30)


def drip(text):
    def behave(connected, stopped):
        for byte in text:
            connected.sendall(bytes([byte]))
            if stopped.wait(0.05):
                return

    return behave


HEADERS = b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 300
BODY = b'{"name": "north", "description": "' + b"x" * 300 + b'"}'


@pytest.mark.parametrize(
    "behave", [silent, drip(HEADERS), drip(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)], ids=["silent", "headers", "body"]
)
def test_who_answers_too_slowly_holds_nobody_up(start_raw, behave):
    server = start_raw(behave)
    begun = time.monotonic()
    with pytest.raises(PeerUnreachable, match="did not answer in time"):
        try_connection(at(server), timeout_seconds=0.5)
    assert time.monotonic() - begun < 4


def test_what_does_not_speak_http_is_no_librarian_and_is_not_repeated(start_raw):
    server = start_raw(lambda connected, stopped: connected.sendall(b"SSH-2.0-OpenSSH_9.6 secret banner\r\n"))
    with pytest.raises(NotALibrarian) as refused:
        try_connection(at(server))
    assert "banner" not in str(refused.value.as_answer())


def test_a_peer_that_hangs_up(start_raw):
    server = start_raw(lambda connected, stopped: None)
    with pytest.raises(PeerUnreachable):
        try_connection(at(server))


def test_certificates_are_verified(start_standin, tmp_path, monkeypatch):
    server = start_standin(tls=certificate(tmp_path, "localhost"))
    with pytest.raises(PeerUnreachable, match="certificate is not valid"):
        try_connection(at(server, url="https://localhost"))
    assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
    try_connection(at(server, url="https://localhost"))
    with pytest.raises(PeerUnreachable, match="certificate is not valid"):
        try_connection(at(server, url="https://127.0.0.1"))  # of another name


def test_https_at_a_plain_port(standin):
    with pytest.raises(PeerUnreachable, match="does not speak TLS"):
        try_connection(at(standin, url="https://127.0.0.1"))


def test_credentials_are_in_no_text_of_ours():
    account = Account("north", "http://127.0.0.1", 1, "here:hidden")
    assert "hidden" not in repr(account)
    assert "hidden" not in str(account)


# --- Rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_try_is_remembered_and_audited(standin):
    admin = make_user()
    peer = make_peer("north", port=standin.port, authenticator="test_librarian:right")
    assert peer.answers is None
    check_peer(peer=peer, actor=admin, address="10.0.0.9")
    peer.refresh_from_db()
    assert peer.answers
    assert peer.latency_seconds > 0
    standin.authenticator = "test_librarian:changed"
    with pytest.raises(PeerRefusesUs):
        check_peer(peer=peer, actor=admin)
    peer.refresh_from_db()
    assert not peer.answers
    assert "credentials" in peer.last_error
    outcomes = [entry.facts["outcome"] for entry in AuditEntry.objects.filter(action="try_peer").order_by("pk")]
    assert outcomes == ["answers", "peer_refuses_us"]
    assert AuditEntry.objects.filter(actor=admin, address="10.0.0.9", subject="peer north").count() == 1
    standin.authenticator = "test_librarian:right"
    check_peer(peer=peer, actor=admin)
    peer.refresh_from_db()
    assert peer.answers
    assert peer.last_error  # what went wrong last stays readable


@pytest.mark.django_db
def test_many_are_asked_at_once_and_none_costs_the_others(standin, start_raw, free_port):
    slow = [make_peer(port=start_raw(silent).port) for _ in range(3)]
    good = make_peer("north", port=standin.port, authenticator="test_librarian:right")
    down = make_peer(port=free_port)
    locked = make_peer("locked", port=standin.port)
    Peer.objects.filter(pk=locked.pk).update(sealed_authenticator="gAAAAABnoSuchKeyOpensThis==")
    begun = time.monotonic()
    found = check_peers(Peer.objects.all(), timeout_seconds=1.0)
    assert time.monotonic() - begun < 2.5  # not three times a second
    assert found[good.pk] is None
    assert {found[peer.pk].code for peer in slow} == {"peer_unreachable"}
    assert found[down.pk].code == "peer_unreachable"
    assert found[locked.pk].code == "unreadable_secret"
    assert {peer.pk: peer.answers for peer in Peer.objects.all()} == {pk: found[pk] is None for pk in found}
    assert check_peers([]) == {}


def certificate(folder, host):
    """A self-signed certificate and its key in one file."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{host}.pem"
    path.write_bytes(key.private_bytes(*form) + made.public_bytes(serialization.Encoding.PEM))
    return path
