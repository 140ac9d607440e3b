"""Authenticates a connection and seals its messages, with gss-ntlmssp and MIT Kerberos and none of our own code."""

import base64
import hashlib
import struct

import gssapi
import gssapi.raw as raw

NTLM = "application/HTTP-SPNEGO-session-encrypted"
KERBEROS = "application/HTTP-Kerberos-session-encrypted"


class Refused(Exception):
    """The login or the message is invalid; the text says why."""


class Acceptor:
    """The host's side of one connection's authentication."""

    def __init__(self, scheme, binding, needs_binding):
        self.scheme = scheme
        self.binding = binding
        self.needs_binding = needs_binding
        self.is_ntlm = False
        bindings = None
        if binding is not None:
            bindings = raw.ChannelBindings(application_data=binding)
        self.context = gssapi.SecurityContext(usage="accept", channel_bindings=bindings)

    @property
    def sealed_type(self):
        return NTLM if self.is_ntlm else KERBEROS

    @property
    def user(self):
        # gss-ntlmssp ends the initiator's name with a NUL.
        return str(self.context.initiator_name).rstrip("\0")

    def step(self, token):
        """Returns the next token for the client; None once the client is authenticated."""
        self.is_ntlm = token.startswith(b"NTLMSSP\0")
        if self.is_ntlm and token[8] == 3 and self.needs_binding and not has_binding(token):
            raise Refused("the login is bound to no channel")
        if not self.is_ntlm and self.scheme == "negotiate" and token[:1] != b"\x60":
            raise Refused("neither NTLMSSP nor a GSS token")
        try:
            reply = self.context.step(token)
            complete = self.context.complete
        except gssapi.exceptions.GSSError as error:
            raise Refused(str(error)) from error
        return reply, complete

    def unseal(self, signature, data):
        try:
            result = self.context.unwrap(signature + data)
        except gssapi.exceptions.GSSError as error:
            raise Refused(str(error)) from error
        if not result.encrypted:
            raise Refused("the message is not encrypted")
        return result.message

    def seal(self, message):
        if self.is_ntlm:
            sealed = self.context.wrap(message, True).message
            return sealed[:16], sealed[16:]
        iov = raw.IOV(raw.IOVBufferType.header, message, raw.IOVBufferType.padding, std_layout=False)
        raw.wrap_iov(self.context, iov, confidential=True, qop=None)
        return iov[0].value, iov[1].value + (iov[2].value or b"")


def has_binding(authenticate):
    """Whether an AUTHENTICATE message contains channel bindings that are not all zero."""
    length, _, offset = struct.unpack_from("<HHI", authenticate, 20)
    # NTProofStr and the blob's header.
    at, end = offset + 16 + 28, offset + length
    while at + 4 <= end:
        number, size = struct.unpack_from("<HH", authenticate, at)
        if number == 0:
            return False
        if number == 10:
            return any(authenticate[at + 4 : at + 4 + size])
        at += 4 + size
    return False


def binding_of(der, digest):
    return b"tls-server-end-point:" + hashlib.new(digest, der).digest()


def basic_user(header, users):
    """Returns the user of a Basic header. Raises Refused."""
    try:
        name, _, password = base64.b64decode(header, validate=True).decode().partition(":")
    except ValueError as error:
        raise Refused("the header is not Basic") from error
    # Only its own users, by their names without domain.
    if "\\" in name or users.get(name) != password:
        raise Refused("wrong user or password")
    return name
