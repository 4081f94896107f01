"""Derives the TLS key and certificate of each slot, so that nobody has to store, issue or renew any.

Both follow from the pool's login key and the pod's uid: the slot's init container makes them, and operator and gateway
make the same certificate to know whom they talk to. The key is one of ECDSA on P-256, from HKDF (RFC 5869); the
certificate is signed by itself with the nonce of RFC 6979, and is therefore the same to the byte wherever it is made.
It lasts for as long as the pod does, since a pod's uid is never used again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FORMAT = "1"
"""Of the certificates that are made here; pods say which one they serve (``Slot.tls``). Another one makes others."""

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group P-256 (FIPS 186-4, D.1.2.3)."""

_SEED_BYTES = 48
"""As FIPS 186-4, B.4.1, wants them for P-256: 64 bits more than the order has, so that no key is likelier."""

_SERIAL_BYTES = 16

_LONGEST_NAME = 64
"""RFC 5280, appendix A.1, ub-common-name."""

_FIRST = datetime(2020, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: what has no end. No clock of a client decides on it."""


@dataclass(frozen=True)
class WalletCertificate:
    """A slot's certificate and private key, as PEM, and the SHA-256 of the certificate's DER."""

    pem: str
    digest: bytes
    private_key: str = field(repr=False)


def derive_certificate(key: str, pod_uid: str, hosts: Sequence[str]) -> WalletCertificate:
    """That of the pod with this uid, in a pool with this login key, which is called by these names (``*`` allowed)."""
    seed = HKDF(hashes.SHA256(), _SEED_BYTES, salt=None, info=f"xmr-escrow wallet tls {pod_uid}".encode())
    scalar = int.from_bytes(seed.derive(key.encode())) % (_ORDER - 1) + 1
    private = ec.derive_private_key(scalar, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"slot-{pod_uid}"[:_LONGEST_NAME])])
    itself = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(pod_uid.encode()).digest()[:_SERIAL_BYTES]) | 1)
        .not_valid_before(_FIRST)
        .not_valid_after(_LAST)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(itself, critical=False)
        # Strict clients want it (RFC 5280, 4.2.1.1).
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(itself), critical=False)
        .sign(private, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return WalletCertificate(
        pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        digest=certificate.fingerprint(hashes.SHA256()),
        private_key=private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
