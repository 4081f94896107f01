"""Reads and writes deeds: the operator's own (setup Create), or ones built from the user's Secrets (setup Open).

No Secret is ever deleted, and no password that an address may depend on is ever overwritten (invariant I4). Users who
may not read a Secret may read the status, so it reports that a Secret is not as required, but nothing of its data.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import InvalidNameError, NotFoundError
from escrow_operator.core.manifests.common import deed_name
from escrow_operator.core.manifests.prepared import is_prepared_file
from escrow_operator.core.manifests.session import DEED_TYPE, deed_patch, deed_secret, settled_patch
from escrow_operator.core.secretuse import SECRET_NOT_MARKED, SecretUse, how_to_mark, is_marked
from escrow_operator.models.common import ROLES, Role, is_name, printable
from escrow_operator.models.deed import Deed, SecretDataError, secret_data, settled_mark
from escrow_operator.models.monero import format_xmr, parse_xmr
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.session import Session, Setup
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import RECHECK_SECONDS, Blocked, Failed

Deeds = dict[Role, Deed]

MAX_ATTEMPTS = 10
"""Most sets of files in which the key exchange of one session is begun: each may leave three files for ever."""

SUFFIX_BYTES = 4
"""Length of the random part of a file name, in bytes."""


def must_name_secrets(session: Session) -> None:
    """Raise Failed (SecretNameInvalid) for a session older than the schema's rule for names of Secrets.

    This includes sessions that are open: their wallets may have been opened with a Secret of another namespace.
    """
    for role in ROLES:
        name = _secret_name(session, role)
        if not is_name(name):
            raise Failed(
                "SecretNameInvalid",
                f"spec.wallets.{role}.secretRef.name is {printable(name, 80)!r}, which is not the name of a Secret."
                f" Create another session that names one in namespace {session.key.namespace}.",
                again=False,
            )


class DeedStore:
    """Reads and writes deeds."""

    def __init__(self, ctx: Context) -> None:
        self._kube, self._fence = ctx.kube, ctx.fence

    async def resolve(self, session: Session, height: int) -> Deeds:
        """The three deeds of a session, for its wallets to be made or opened; with setup Create, missing ones are made.

        ``height`` is the chain's, which new deeds record as the restore height. What a former leader writes into them
        from now on is refused: its key exchange must not be sealed beside another one. Raises Blocked with a message
        that names the Secret at fault.
        """
        found = await self.find(session)
        if session.spec.setup is Setup.CREATE:
            mine = await gather_all(self._take_up(session, deed) for deed in found.values() if deed)
            found |= {deed.role: deed for deed in mine}
        suffix = secrets.token_hex(SUFFIX_BYTES)
        lacking = [role for role in ROLES if found[role] is None]
        made = await gather_all(self._make(session, role, suffix, height) for role in lacking)
        return {role: deed for role, deed in found.items() if deed} | {deed.role: deed for deed in made}

    async def take_over(self, session: Session, escrow: PreparedEscrow) -> Deeds:
        """Make the deeds of a session that has none, of the prepared escrow that it was given.

        Raises ConflictError if there is one meanwhile.
        """
        deeds = escrow.deeds(session.spec.pool_ref.name)
        made = await gather_all(self._create(session, deed) for deed in deeds.values())
        return {deed.role: deed for deed in made}

    async def find(self, session: Session) -> dict[Role, Deed | None]:
        """The three deeds, None for missing ones; nothing is written. Raises Blocked like ``resolve``."""
        if session.spec.setup is Setup.OPEN:
            return dict(await self._given(session))
        found = dict(await asyncio.gather(*(self._made(session, role) for role in ROLES)))
        self._must_agree(session, found)
        self._must_not_be_settled(session, found)
        return found

    def _must_not_be_settled(self, session: Session, found: Mapping[Role, Deed | None]) -> None:
        """Raise Blocked rather than use the wallets of a trade that is over again: its parties may hold their keys."""
        settled = next((deed.settled for deed in found.values() if deed and deed.settled), None)
        if settled is None or session.spec.reuse_settled_wallets or session.status.get("address"):
            return
        raise Blocked(
            "NameSettled",
            f"The wallets of the name {session.key.name} served a trade that ended as {settled}: its parties may hold"
            " their keys. Choose another name, or set spec.reuseSettledWallets to true if this is the same trade.",
            retry_after=RECHECK_SECONDS,
        )

    async def mark_settled(self, session: Session, text: str) -> None:
        """Record on the deeds that their trade is over, before the status does. Users' own Secrets stay unchanged."""
        if session.spec.setup is Setup.OPEN:
            return
        await gather_all(self._mark(session, role, text) for role in ROLES)

    async def _mark(self, session: Session, role: Role, text: str) -> None:
        name = deed_name(session.key, role)
        secret = await self._find(session.key.namespace, name)
        if secret is None or settled_mark(secret) == text:
            # A lost deed needs no mark: without it the wallet is not opened again.
            return
        patch = settled_patch(secret, text)
        await self._kube.patch(SECRETS, session.key.namespace, name, patch)

    def _must_agree(self, session: Session, found: Mapping[Role, Deed | None]) -> None:
        """Raise Blocked rather than make new wallets beside existing ones to which money may have been paid."""
        addresses = {deed.address for deed in found.values() if deed and deed.address}
        if session.status.get("address"):
            addresses.add(session.status["address"])
        lost = [deed_name(session.key, role) for role, deed in found.items() if deed is None]
        if addresses and lost:
            raise Blocked(
                "DeedMissing",
                f"The address {min(addresses)} was published, but the Secret {', '.join(lost)} that opens its wallet is"
                " gone. Restore it from a backup; the operator makes no new wallets in its place.",
                retry_after=RECHECK_SECONDS,
            )
        if len(addresses) > 1:
            raise Blocked(
                "DeedsDisagree",
                f"The Secrets {', '.join(deed_name(session.key, role) for role in ROLES)} belong to wallets of"
                " different addresses. Put the ones that belong together in place, or use another session name.",
                retry_after=RECHECK_SECONDS,
            )
        pools = {deed.pool for deed in found.values() if deed and deed.pool} - {session.spec.pool_ref.name}
        if pools:
            raise Blocked(
                "DeedsDisagree",
                f"The wallets of an earlier session {session.key.name} are in pool {min(pools)}: set spec.poolRef to it"
                " in a new session of this name, or use another name.",
                retry_after=RECHECK_SECONDS,
            )

        terms = {deed.terms for deed in found.values() if deed and deed.terms} - {terms_of(session)}
        if terms:
            raise Blocked(
                "DeedsDisagree",
                f"The address of the name {session.key.name} was published for another trade than"
                f" {terms_of(session)}: whoever paid, and whoever delivers when Funded is True, relied on that. Set"
                " spec.amount and spec.confirmations as they were, or open the wallets under another name, by setup"
                " Open.",
                retry_after=RECHECK_SECONDS,
            )

    async def record_address(self, session: Session, deeds: Mapping[Role, Deed], address: str) -> None:
        """Write the verified address and its terms into every deed that lacks them, and seal it, before publication.

        From then on money may depend on the deed: a sealed Secret cannot be changed, even with the operator's rights.
        """
        if session.spec.setup is Setup.OPEN:
            return
        await asyncio.gather(
            *(
                self._write(session, dataclasses.replace(deed, address=address, terms=terms_of(session), sealed=True))
                for deed in deeds.values()
                if deed.address != address or not deed.sealed
            )
        )

    async def renew_files(
        self, session: Session, deeds: Mapping[Role, Deed], height: int, roles: Collection[Role]
    ) -> Deeds:
        """Write new file names for some roles, for a key exchange that starts over; returns all deeds.

        Passwords and old files stay. Raises Failed after ``MAX_ATTEMPTS``, so that no session fills a volume.
        """
        attempt = max(deed.attempt for deed in deeds.values()) + 1
        if attempt > MAX_ATTEMPTS:
            names = ", ".join(deed_name(session.key, role) for role in ROLES)
            raise Failed(
                "KeyExchangeFailed",
                f"The key exchange of the three wallets was begun with {MAX_ATTEMPTS} sets of files and did not"
                " complete. See the pods' logs and the events of their volumes. Then delete the Secrets"
                f" {names}: without an address in them nothing can have been paid to their wallets. The session then"
                " starts over by itself.",
                again=False,
            )
        suffix = secrets.token_hex(SUFFIX_BYTES)
        fresh = [
            dataclasses.replace(deeds[role], file=_file_name(session, suffix), restore_height=height, attempt=attempt)
            for role in roles
        ]
        return dict(deeds) | {deed.role: deed for deed in await gather_all(self._write(session, d) for d in fresh)}

    async def versions(self, session: Session) -> str:
        """The resource versions of the Secrets that a session opens with, as one text that changes with any of them."""
        names = [_secret_name(session, role) for role in ROLES]
        return "/".join(await asyncio.gather(*(self._version(session.key.namespace, name) for name in names)))

    async def _version(self, namespace: str, name: str) -> str:
        secret = await self._find(namespace, name)
        if secret is None:
            return "-"
        version: str = secret["metadata"]["resourceVersion"]
        return version

    async def _given(self, session: Session) -> Deeds:
        """The deeds of setup Open. A Secret with the passwords of several wallets is read once."""
        names = list(dict.fromkeys(_secret_name(session, role) for role in ROLES))
        found = await gather_all(self._find(session.key.namespace, name) for name in names)
        secrets_by_name = dict(zip(names, found, strict=True))
        return {role: _given_deed(session, role, secrets_by_name[_secret_name(session, role)]) for role in ROLES}

    async def _find(self, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return await self._kube.get(SECRETS, namespace, name)
        except (NotFoundError, InvalidNameError):
            return None

    async def _made(self, session: Session, role: Role) -> tuple[Role, Deed | None]:
        name = deed_name(session.key, role)
        secret = await self._find(session.key.namespace, name)
        if secret is None:
            return role, None
        try:
            deed = Deed.from_secret(role, secret) if secret.get("type") == DEED_TYPE else None
        except SecretDataError:
            deed = None
        if deed is None:
            raise Blocked(
                "SecretInvalid",
                f"Secret {name} is not the deed of a wallet: of type {DEED_TYPE}, with file and password as text and"
                " restoreHeight as a number. Restore the deed with its type, or use another session name.",
                retry_after=RETRY_AFTER_SECRET,
            )
        return role, deed

    async def _make(self, session: Session, role: Role, suffix: str, height: int) -> Deed:
        deed = Deed(
            role=role,
            file=_file_name(session, suffix),
            password=secrets.token_urlsafe(32),
            restore_height=height,
            pool=session.spec.pool_ref.name,
        )
        return await self._create(session, deed)

    async def _create(self, session: Session, deed: Deed) -> Deed:
        term = self._fence.token
        secret = await self._kube.create(SECRETS, session.key.namespace, deed_secret(session, deed, term))
        return dataclasses.replace(deed, version=secret["metadata"]["resourceVersion"], term=term)

    async def _take_up(self, session: Session, deed: Deed) -> Deed:
        """A deed that may still change, as one of this term: by its version, older patches of it are refused."""
        return deed if deed.sealed or deed.term == self._fence.token else await self._write(session, deed)

    async def _write(self, session: Session, deed: Deed) -> Deed:
        name, term = deed_name(session.key, deed.role), self._fence.token
        secret = await self._kube.patch(SECRETS, session.key.namespace, name, deed_patch(deed, term))
        return dataclasses.replace(deed, version=secret["metadata"]["resourceVersion"], term=term, is_annotated=True)


RETRY_AFTER_SECRET = 5.0
"""Requeue delay in seconds. Secrets are not watched, since that takes the right to read every Secret of the cluster."""


def _given_deed(session: Session, role: Role, secret: dict[str, Any] | None) -> Deed:
    """The deed of a wallet that the spec names. Raises Blocked with what is wrong with its Secret."""
    assert session.spec.wallets is not None  # noqa: S101 - the schema's CEL rule says so
    wallet = session.spec.wallets.of(role)
    ref = wallet.secret_ref
    if secret is None:
        raise Blocked(
            "SecretNotFound",
            f"Secret {ref.name} with the password of the {role} wallet does not exist in namespace"
            f" {session.key.namespace}. Create it; the session goes on by itself.",
            retry_after=RETRY_AFTER_SECRET,
        )
    if not is_marked(secret, SecretUse.WALLET_PASSWORD):
        # This check comes before any use or report of the Secret's data (invariant I11).
        raise Blocked(
            SECRET_NOT_MARKED,
            how_to_mark(session.key.namespace, ref.name, SecretUse.WALLET_PASSWORD),
            retry_after=RETRY_AFTER_SECRET,
        )
    try:
        data = secret_data(secret, ref.key)
    except SecretDataError:
        raise Blocked(
            "SecretInvalid",
            f"What Secret {ref.name} has for the {role} wallet is not UTF-8 text.",
            retry_after=RETRY_AFTER_SECRET,
        ) from None
    if ref.key not in data:
        raise Blocked(
            "SecretKeyMissing",
            f"Secret {ref.name} has no key {ref.key!r} with the password of the {role} wallet. Add it, or name the"
            f" right key in spec.wallets.{role}.secretRef of another session.",
            retry_after=RETRY_AFTER_SECRET,
        )
    return Deed(
        role=role,
        file=wallet.file,
        password=data[ref.key],
        address=session.spec.address or session.status.get("address"),
        version=secret["metadata"]["resourceVersion"],
    )


def terms_of(session: Session) -> str:
    """The terms that cannot change once the address is known, not even by another session of the same name."""
    return f"{format_xmr(parse_xmr(session.spec.amount))} XMR, {session.spec.confirmations} confirmations"


def _secret_name(session: Session, role: Role) -> str:
    if session.spec.wallets is not None:
        return session.spec.wallets.of(role).secret_ref.name
    return deed_name(session.key, role)


def _file_name(session: Session, suffix: str) -> str:
    """A file name, unique in the pool's storage for ever and legible: namespaces and session names are DNS labels."""
    return f"{session.key.namespace}.{session.key.name}.{suffix}"


def is_own_file(session: Session, file: str) -> bool:
    """Whether the operator chose this file name, for a session of this namespace and name or a prepared escrow."""
    if is_prepared_file(session.key.namespace, file):
        return True
    prefix = _file_name(session, "")
    suffix = file.removeprefix(prefix)
    return file.startswith(prefix) and re.fullmatch(rf"[0-9a-f]{{{2 * SUFFIX_BYTES}}}", suffix) is not None
