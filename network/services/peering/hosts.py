"""Looking at the hosts to which files for a peer may go by rsync: from here, and from our storage nodes."""

from collections.abc import Iterator, Mapping
from typing import Any

from librarian.common.findings import Finding, fails, works
from librarian.common.programs import Answered, ask_program
from librarian.common.ssh import NoRemoteRsync, SshProblem, host_problem, ssh_words, understand
from librarian.common.ssh_trying import fresh_command, try_host
from stores.backends.ssh.calling import far_command

ANSWER_SECONDS = 30.0
HOP_SECONDS = 50.0


def look_from_here(host: str, config: str) -> Iterator[Finding]:
    """One host by ssh from this machine, and its rsync."""
    last = None
    for last in try_host(host, config=config):
        yield Finding(last.works, f"{host}: {last.subject}", last.reason, last.remedy, last.doubtful)
    if last is None or not last.works:
        return
    answered = ask_program(fresh_command(host, config, "rsync --version"), seconds=ANSWER_SECONDS)
    if answered.ok:
        said = answered.output.partition("\n")[0]
        yield works(f"{host}: rsync over there", " ".join(said.split()[:3]))
    elif answered.code == 127:
        yield fails(f"{host}: rsync over there", "there is none", NoRemoteRsync.remedy)
    else:
        # An account may be let in for rsync alone, which answers other commands as it likes.
        yield works(f"{host}: rsync over there", f"it does not tell its version: {answered.last_words}")


def look_from_store(store_name: str, configuration: Mapping[str, Any], host: str) -> Iterator[Finding]:
    """One host by ssh from the storage node of a store, which brings its files there by itself."""
    subject = f"{host} from the storage node of {store_name}"
    if host_problem(host):
        return  # said of it from here
    node = configuration["host"]
    config = configuration.get("node_ssh_config") or ""
    there = [*ssh_words(config=config), "--", host, "true"]
    answered = ask_program(far_command(configuration, there), seconds=HOP_SECONDS)
    if answered.ok:
        yield works(subject, f"{node} gets in there")
        return
    yield _why_not(subject, node, host, config, answered)


def _why_not(subject: str, node: str, host: str, config: str, answered: Answered) -> Finding:
    file = f"-F {config} " if config else ""
    try_it = f"Log in to {node} and try `ssh {file}-o BatchMode=yes {host} true`: its own keys and known_hosts count."
    if answered.code is None:
        return fails(subject, f"{node} got no answer within {HOP_SECONDS:.0f} s", try_it)
    if answered.code == 127:
        return fails(subject, f"{node} has no ssh", f"Install the OpenSSH client on {node}.")
    problem: SshProblem | None = understand(host, answered.complaints)
    return fails(subject, f"seen from {node}: {problem.reason if problem else answered.last_words}", try_it)
