"""What may stand in the configuration of an ssh store."""

from typing import Any

from librarian.common.ssh import host_problem
from stores.backends.corners import check_configuration as check_posix

OURS = ("host", "python", "ssh_config", "node_ssh_config")


def check_configuration(configuration: dict[str, Any]) -> list[str]:
    """Sentences that say what is wrong with a configuration; empty when it is valid."""
    if not isinstance(configuration, dict):
        return ['The configuration must be an object such as {"host": "node2", "root": "/data/archive"}.']
    problems = []
    if "host" not in configuration:
        problems.append("'host' is missing: the name by which ssh reaches the machine.")
    elif host_problem(configuration["host"]):
        problems.append("'host' must be a plain host name or user@host; a port or a key belongs in the ssh settings.")
    problems += _about_programs(configuration)
    paths = {key: value for key, value in configuration.items() if key not in OURS}
    return problems + [problem.replace("a posix store", "an ssh store") for problem in check_posix(paths)]


def _about_programs(configuration: dict[str, Any]) -> list[str]:
    problems = []
    python, config = configuration.get("python") or "python3", configuration.get("ssh_config") or "/"
    if not isinstance(python, str) or not python.isprintable() or python.startswith("-") or "=" in python:
        problems.append("'python' must be the name or the path of a Python on that machine.")
    elif "/" in python and not python.startswith("/"):
        problems.append("'python' must be a name or an absolute path.")
    if not isinstance(config, str) or not config.startswith("/") or not config.isprintable():
        problems.append("'ssh_config' must be the absolute path of a file on this machine.")
    theirs = configuration.get("node_ssh_config") or "/"
    if not isinstance(theirs, str) or not theirs.startswith("/") or not theirs.isprintable():
        problems.append("'node_ssh_config' must be the absolute path of a file on that machine.")
    return problems
