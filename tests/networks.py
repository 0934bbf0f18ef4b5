"""Networks for tests: a bridge on this host that connects network namespaces."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from typing import Any

# RFC 2544 reserves 198.18.0.0/15 for tests between networks, so no host has such an address.
_SUBNETS = [f"198.{second}.{third}" for second in (18, 19) for third in range(256)]


@dataclass(frozen=True)
class Namespace:
    """A network namespace that is connected only to a port of the bridge."""

    name: str
    address: str
    port: str
    bridge: str

    @property
    def enter(self) -> list[str]:
        """Return the prefix of a command that runs in the namespace."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def detach(self) -> None:
        """Drop frames from and to it. Its link stays up, so processes in it do not notice."""
        _ip("link", "set", self.port, "nomaster")

    def attach(self) -> None:
        """Let frames pass again."""
        _ip("link", "set", self.port, "master", self.bridge)


class Network:
    """A subnet of its own, in which this host has the address `gateway`."""

    def __init__(self) -> None:
        self._name = f"td{secrets.token_hex(4)}"
        taken = {
            address["local"].rpartition(".")[0]
            for link in _ip_json("address")
            for address in link["addr_info"]
            if address["family"] == "inet"
        }
        # Start at a process-dependent place, so that simultaneous tests choose different subnets.
        start = os.getpid() % len(_SUBNETS)
        self._subnet = next(s for s in _SUBNETS[start:] + _SUBNETS[:start] if s not in taken)
        self.gateway = f"{self._subnet}.1"
        self._namespaces: list[Namespace] = []
        self._numbers = itertools.count(2)

    def make(self) -> None:
        """Make the bridge, and connect this host to it."""
        _ip("link", "add", self._name, "address", _mac(1), "type", "bridge")
        _ip("address", "add", f"{self.gateway}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")

    def namespace(self) -> Namespace:
        """Make and return a namespace on the bridge."""
        number = next(self._numbers)
        namespace = Namespace(
            f"{self._name}-{number}",
            f"{self._subnet}.{number}",
            f"{self._name}p{number}",
            self._name,
        )
        _ip("netns", "add", namespace.name)
        self._namespaces.append(namespace)
        inside = ("-netns", namespace.name)
        _ip("link", "add", namespace.port, "type", "veth", "peer", "name", "eth0", *_in(namespace))
        namespace.attach()
        _ip("link", "set", namespace.port, "up")
        _ip(*inside, "link", "set", "eth0", "address", _mac(number))
        _ip(*inside, "address", "add", f"{namespace.address}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")
        # With permanent neighbour entries, a host that is cut off looks silent instead of
        # unreachable, like behind a router.
        _neighbour(inside, self.gateway, _mac(1), "eth0")
        _neighbour((), namespace.address, _mac(number), self._name)
        return namespace

    def remove(self) -> None:
        """Remove the network, whose processes must have ended."""
        for namespace in self._namespaces:
            _ip("link", "delete", namespace.port)
            _ip("netns", "delete", namespace.name)
        if any(link["ifname"] == self._name for link in _ip_json("link")):
            _ip("link", "delete", self._name)


def _in(namespace: Namespace) -> tuple[str, str]:
    return ("netns", namespace.name)


def _mac(number: int) -> str:
    """Return a locally administered address, which is unique on its bridge."""
    return f"02:00:00:00:00:{number:02x}"


def _neighbour(where: tuple[str, ...], address: str, mac: str, device: str) -> None:
    permanent = ("lladdr", mac, "nud", "permanent", "dev", device)
    _ip(*where, "neighbour", "replace", address, *permanent)


def _ip(*arguments: str) -> str:
    ended = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"ip {' '.join(arguments)}: {ended.stderr}"
    return ended.stdout


def _ip_json(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_ip("-json", *arguments, "show"))
    return found
