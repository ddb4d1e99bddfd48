"""What `cgn miner run --check` looks at: files, keys, engine, images, programs, and what the node says to this miner.

The node is asked at its own address with the same greeting that joins, on the path that only asks: nothing is joined,
and a miner of the same id that works already is not disturbed.
"""

import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cgn_sdk.protocol.errors import CLOSE_NOT_AUTHENTICATED, CLOSE_REFUSED
from cgn_sdk.protocol.messages import PROTOCOL, Capabilities, DServiceOffer, GoAway, Hello, Seal, Welcome
from cgn_sdk.protocol.tunnel import Event, Tunnel
from cgn_sdk.signing import Signer
from cgn_sdk.tunnel_connection import DIALLING_OPTIONS, DiallingConnection
from cgn_sdk.tunnel_io import Closed, TunnelLink
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from cgn_chassis import keys, tls
from cgn_chassis.failures import told
from cgn_chassis.settings import exposed
from miner_client import limits, runner
from miner_client.settings import MinerSettings

CHECK_SUFFIX = "/check"


@dataclass
class Found:
    """What is wrong, and what is worth knowing."""

    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def local(settings: MinerSettings) -> Found:
    """What this machine alone can tell."""
    found = Found(exposed(settings))
    try:
        keys.load_or_create(settings.signing_key)
    except (OSError, ValueError) as error:
        said = told(error)
        found.mistakes.append(f"signing_key: {said.sentence if said else error}")
    if settings.authority is not None:
        found.mistakes += tls.authority_findings(settings.authority, "authority")
    for name, one in settings.runner_settings().items():
        if one.image:
            if not runner.docker_present():
                found.mistakes.append(f"dservices.{name}: no Docker Engine answers")
            elif not runner.image_present(one.image):
                found.mistakes.append(f"dservices.{name}: the image {one.image} is not on this machine")
        elif shutil.which(one.command[0]) is None:
            found.mistakes.append(f"dservices.{name}: there is no program {one.command[0]}")
        else:
            found.notes.append(f"dservices.{name}: runs as a child process, for the local sandbox only")
    return found


async def ask_node(settings: MinerSettings) -> Found:
    """Whether the node would take this miner with what it offers."""
    offers = tuple(DServiceOffer(name, one.version) for name, one in sorted(settings.dservices.items()))
    signer = Signer(keys.load(settings.signing_key).private_bytes_raw())
    hello = Hello(
        account_id=settings.account_id,
        miner_id=settings.miner_id,
        api_key=settings.api_key.reveal(),
        dservices=offers,
        runner="docker" if any(table.image for table in settings.dservices.values()) else "process",
        capabilities=Capabilities(1, 1, 1),
        slots=0,
        signing_key=signer.public_key.hex(),
    )
    asked = _Asked()
    try:
        closed = await asked.greet(settings.node + CHECK_SUFFIX, _context(settings), hello)
    except (OSError, InvalidHandshake, TimeoutError) as error:
        return Found([f"node: {settings.node} {_unreached(error, settings.authority)}"])
    if asked.welcome is None:
        return Found([_refused(closed, asked.reason)])
    taken = {offer.name for offer in asked.welcome.dservices}
    found = Found()
    found.notes.append(f"node: {asked.welcome.node_id} takes this miner in tier {asked.welcome.tier}")
    left = [offer for offer in offers if offer.name not in taken]
    found.mistakes += [f"dservices.{one.name}: the node does not take version {one.version}" for one in left]
    return found


class _Asked:
    """One greeting and its answer."""

    def __init__(self) -> None:
        self.welcome: Welcome | None = None
        self.reason = ""

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Welcome):
            self.welcome = event
        elif isinstance(event, GoAway):
            self.reason = event.reason

    async def greet(self, address: str, context: ssl.SSLContext | None, hello: Hello) -> Closed:
        connecting = connect(
            address,
            ssl=context,
            subprotocols=[Subprotocol(PROTOCOL)],
            open_timeout=limits.DIAL_TIMEOUT_MS / 1000,
            proxy=None,
            **DIALLING_OPTIONS,
        )
        async with connecting as connection:
            assert isinstance(connection, DiallingConnection), "as DIALLING_OPTIONS ask for"
            link = TunnelLink(connection, Tunnel("miner", seal=_seals_nothing), self._on_event)
            link.tunnel.send_hello(hello)
            return await link.run()


def _seals_nothing(digests: Sequence[bytes]) -> Seal:
    raise AssertionError("no work was done, so there is nothing to sign")


def _context(settings: MinerSettings) -> ssl.SSLContext | None:
    return tls.client_context(settings.authority) if settings.node.startswith("wss:") else None


def _unreached(error: Exception, authority: Path | None) -> str:
    """Why there is no conversation, and what to do."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        hint = "is that a node's miner endpoint?" if status == 404 else "the node takes no miner now"
        return f"answers {status}: {hint}"
    if isinstance(error, ssl.SSLCertVerificationError):
        which = f"the authority {authority}" if authority else "any authority that this machine trusts"
        return f"shows a certificate that cannot be verified by {which} ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return f"did not answer within {limits.DIAL_TIMEOUT_MS // 1000} s"
    found = told(error)
    return f"cannot be reached: {found.sentence if found else error}"


def _refused(closed: Closed, reason: str) -> str:
    said = reason or closed.reason or "without a reason"
    if closed.code == CLOSE_NOT_AUTHENTICATED:
        return f"account_id, miner_id or api_key: the node says: {said}"
    return f"the node refuses this miner: {said}" if closed.code == CLOSE_REFUSED else f"the node says: {said}"
