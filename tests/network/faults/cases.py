"""Files for one case of the matrix: flat, empty and a directory, under names that no other case has."""

from itertools import count

from tests.network.members import Content, Member

_numbers = count(1)


def deliver_some(sender: Member) -> list[str]:
    """Bring three files to a sender and return their names."""
    number = next(_numbers)
    contents: dict[str, Content] = {
        f"zen.2457561.{number:05}.sum.uvh5": f"file of case {number}".encode() * 3000,
        f"zen.2457561.{number:05}.flags.npz": b"",
        f"zen.2457561.{number:05}.uv": {
            "header": f"head {number}".encode(),
            "vartable": b"vars",
            "sub/visdata": bytes([number % 256]) * 70_000,
            "empty": None,
        },
    }
    for name, content in contents.items():
        sender.deliver(name, content)
    return list(contents)
