"""Makes certificates: an authority of our own, and what it signs. Elliptic keys; nothing is written anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leasehold.control_plane.inject.certificates.material import Certificate

TOLERANCE = timedelta(minutes=5)
"""By which clocks of a cluster may differ: certificates count from before they are made."""


class BadCertificate(ValueError):
    """Not a certificate in PEM."""


def new_authority(now: datetime, lifetime: timedelta) -> Certificate:
    """Signed by itself, and named after its key, so that no two are confused."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"leasehold webhook {identifier.digest.hex()[:16]}")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        _builder(name, name, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )
    return _finished(builder.sign(key, hashes.SHA256()), key)


def issue(authority: Certificate, names: frozenset[str], now: datetime, lifetime: timedelta) -> Certificate:
    """A server's certificate for these DNS names."""
    signer = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise BadCertificate("expected an authority of our own making, with an elliptic key")
    issuer = x509.load_pem_x509_certificate(authority.pem)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(x509.Name([]), issuer.subject, key.public_key(), now, lifetime)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in sorted(names)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    return _finished(builder.sign(signer, hashes.SHA256()), key)


def read_certificate(pem: bytes, key: bytes = b"") -> Certificate:
    """What a certificate says. Raises ``BadCertificate``."""
    try:
        found = x509.load_pem_x509_certificate(pem)
        return _described(found, pem, key)
    except ValueError as error:
        raise BadCertificate(f"expected a certificate in PEM: {error}") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - TOLERANCE)
        .not_valid_after(now + lifetime)
    )


def _finished(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _described(certificate, certificate.public_bytes(serialization.Encoding.PEM), secret)


def _described(certificate: x509.Certificate, pem: bytes, key: bytes) -> Certificate:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = frozenset(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        dns = frozenset()
    return Certificate(
        pem=pem,
        key=key,
        issuer=certificate.issuer.rfc4514_string(),
        subject=certificate.subject.rfc4514_string(),
        # As it was made: the tolerance is no part of its age.
        not_before=certificate.not_valid_before_utc.astimezone(UTC) + TOLERANCE,
        not_after=certificate.not_valid_after_utc.astimezone(UTC),
        names=dns,
    )
