"""Certificates for the gateway at 127.0.0.1, and callers who trust them."""

import datetime
import ipaddress
import os
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Certificates:
    """An authority, and the two files of a certificate that it issued."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.certificate, self.private_key = directory / "tls.crt", directory / "tls.key"
        self.authority = directory / "authority.pem"
        self._own = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        self._root = self._sign(self._name, self._own.public_key(), [_AUTHORITY])
        _replace(self.authority, _pem(self._root))
        self.new_key()
        self.renew()

    def files(self) -> dict[str, str]:
        """As `server.tls` names them."""
        return {"certificate": str(self.certificate), "private_key": str(self.private_key)}

    def trust(self, *protocols: str) -> ssl.SSLContext:
        """A caller's side; `protocols` are offered by ALPN."""
        context = ssl.create_default_context(cafile=self.authority)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def serve(self) -> ssl.SSLContext:
        """A server's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.private_key)
        return context

    def new_key(self) -> None:
        """Another key, which the certificate does not belong to."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        _replace(
            self.private_key,
            self._key.private_bytes(encoding, kind, serialization.NoEncryption()),
        )

    def renew(self) -> int:
        """A new certificate of the key at hand; its serial number."""
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        extension = x509.SubjectAlternativeName(names)
        fresh = self._sign(_name("gateway"), self._key.public_key(), [extension])
        self.spoil(_pem(fresh))
        return fresh.serial_number

    def spoil(self, certificate: bytes) -> None:
        """Puts these bytes in the certificate's place."""
        _replace(self.certificate, certificate)

    def shown(self, address: str) -> int:
        """The serial number of the certificate that the gateway shows now."""
        host, _, port = address.rpartition(":")
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            self.trust().wrap_socket(plain, server_hostname=host) as peer,
        ):
            return x509.load_der_x509_certificate(peer.getpeercert(binary_form=True)).serial_number

    def _sign(self, subject: x509.Name, key, extensions: list) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._own.public_key()), False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._own, hashes.SHA256())


_AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _replace(path: Path, content: bytes) -> None:
    """In one step, as renewals do it."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)
