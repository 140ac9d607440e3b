"""A WinRM host for tests: `serve.py <configuration>`. Its cryptography comes from gss-ntlmssp, MIT Kerberos and OpenSSL.

Prints `{"ready": …}` when it is listening, and answers each line on standard input with one JSON object, by id: `stats`,
`mishap` (what should go wrong with the next messages of an action) and `forget` (all sessions). Ends with its input.
"""

import base64
import json
import re
import select
import signal
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import soap
from security import Acceptor, Refused, basic_user, binding_of
from shells import Command, Shell

BOUNDARY = b"--Encrypted Boundary"


class Host:
    """State shared by all listeners."""

    def __init__(self, settings):
        self.settings = settings
        self.lock = threading.Lock()
        self.shells = {}
        self.mishaps = []
        self.requests = []
        self.created = 0
        self.handshakes = 0
        self.refusals = []
        self.message_ids = set()
        self.epoch = 0

    def mishap(self, action, moment):
        """Returns what should go wrong now, if anything, and removes it."""
        with self.lock:
            for each in self.mishaps:
                if each["action"] in (action, "*") and each["moment"] == moment:
                    if each.get("skip", 0) > 0:
                        each["skip"] -= 1
                        continue
                    each["times"] -= 1
                    if each["times"] == 0:
                        self.mishaps.remove(each)
                    return each["what"]
        return None

    def answer(self, request, owner):
        """Returns status and body of a reply."""
        if request.is_identify:
            return 200, soap.IDENTIFIED
        if request.is_configuration:
            # Only administrators may read it.
            most = self.settings.get("maxEnvelope", 512_000)
            told = self.settings.get("tellsConfiguration", True)
            return (200, soap.configuration(most)) if told else (500, soap.fault("denied"))
        with self.lock:
            if request.message_id in self.message_ids:
                return 500, soap.fault("schema")
            self.message_ids.add(request.message_id)
            shell = self.shells.get(request.shell_id)
            if shell is not None and shell.owner != owner:
                return 500, soap.fault("denied")
        if request.action == "Create":
            if self.settings.get("noProfiles") and not request.without_profile:
                # For a user who isn't an administrator.
                return 500, soap.fault("denied")
            environment, directory = request.created()
            shell = Shell(owner, environment, directory or self.settings["dir"])
            with self.lock:
                if len(self.shells) >= self.settings.get("maxShells", 30):
                    return 500, soap.fault("shells_quota")
                self.shells[shell.id] = shell
                self.created += 1
            return 200, soap.created(shell.id)
        if shell is None:
            return 500, soap.fault("shell_gone")
        if request.action == "Delete":
            with self.lock:
                self.shells.pop(shell.id, None)
            shell.end()
            return 200, ""
        if request.action == "Command":
            try:
                command = Command(shell, *request.line(), self.settings, request.console)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                return 500, soap.fault("bad_directory")
            shell.commands[command.id] = command
            return 200, soap.started(command.id)
        command = shell.commands.get(request.command_id())
        if command is None:
            return 500, soap.fault("shell_gone")
        if request.action == "Receive":
            # Base64, and what surrounds it.
            most = min(request.most, self.settings.get("maxEnvelope", 512_000)) * 3 // 4 - 4096
            seconds = min(request.seconds, self.settings.get("maxPollSeconds", 60))
            got = command.receive(seconds, most)
            if shell.id not in self.shells:
                return 500, soap.fault("aborted")
            return (500, soap.fault("poll_again")) if got is None else (200, soap.received(command.id, *got))
        if request.action == "Send":
            data, end = request.input()
            seconds = min(request.seconds, self.settings.get("maxSendSeconds", 60))
            refused = command.send(data, end, seconds)
            return (200, "<rsp:SendResponse/>") if refused is None else (500, soap.fault(refused))
        if request.action == "Signal":
            name = request.signal()
            if name == "ctrl_c" and self.settings.get("noCtrlC"):
                return 200, "<rsp:SignalResponse/>"
            command.signal(signal.SIGINT if name == "ctrl_c" else signal.SIGKILL)
            return 200, "<rsp:SignalResponse/>"
        return 500, soap.fault("schema")


class Handler(BaseHTTPRequestHandler):
    """One connection, authenticated or not."""

    protocol_version = "HTTP/1.1"
    acceptor = None
    authenticated = False
    epoch = 0
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_POST(self):
        listener, host = self.server.listener, self.server.host
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = host.mishap("*", "http")
        if whole is not None:
            return self.misbehave(whole)
        if self.epoch != host.epoch:
            self.acceptor, self.authenticated, self.epoch = None, False, host.epoch
        try:
            owner = self.who(listener, host)
            if owner is None:
                return None
            if not body:
                return self.reply(200, b"")
            if host.settings.get("noAccess"):
                # The login is valid. A user whom RootSDDL doesn't name is refused this way with the first message.
                return self.unauthorized(listener)
            return self.message(listener, host, owner, body)
        except Refused as error:
            with host.lock:
                host.refusals.append(str(error))
            self.acceptor, self.authenticated = None, False
            return self.unauthorized(listener)

    def who(self, listener, host):
        """Returns the user of this request; None if the reply has already been sent."""
        header = self.headers.get("Authorization", "")
        scheme, _, value = header.partition(" ")
        scheme = scheme.lower()
        if scheme == "basic" and "basic" in listener["methods"] and not host.settings.get("noBasic"):
            return basic_user(value, host.settings["users"])
        if header.endswith("/https/mutual") and "certificate" in listener["methods"]:
            if not self.client_certificate():
                raise Refused("no client certificate")
            return "certificate"
        if scheme in ("negotiate", "kerberos") and "negotiate" in listener["methods"]:
            if self.acceptor is None or self.authenticated:
                self.authenticated = False
                self.acceptor = Acceptor(scheme, listener["binding"], listener["strict"])
            token, complete = self.acceptor.step(base64.b64decode(value))
            encoded = base64.b64encode(token).decode() if token else ""
            if not complete:
                self.reply(401, b"", {"WWW-Authenticate": f"{scheme.title()} {encoded}"})
                return None
            self.authenticated = True
            self.scheme, self.last_token = scheme.title(), encoded
            with host.lock:
                host.handshakes += 1
        if self.authenticated:
            return self.acceptor.user
        raise Refused("no login")

    def client_certificate(self):
        """Requested after the header was read, as Windows does: with TLS 1.3, a client that doesn't offer it loses the connection.

        With TLS 1.2 it was requested in the handshake, because Python has no renegotiation.
        """
        connection = self.connection
        if connection.version() == "TLSv1.3" and not connection.getpeercert():
            connection.verify_client_post_handshake()
            connection.do_handshake()
            connection.setblocking(False)
            while not connection.getpeercert() and select.select([connection], [], [], 10)[0]:
                try:
                    connection.recv(1)
                except ssl.SSLWantReadError:
                    pass
            connection.setblocking(True)
        return connection.getpeercert()

    def message(self, listener, host, owner, body):
        sealed = self.headers.get("Content-Type", "").startswith("multipart/encrypted")
        if len(body) > host.settings.get("maxEnvelope", 512_000):
            # Before any of it is read.
            return self.reply(413, b"")
        if not sealed and not listener["tls"] and not listener["plain"]:
            # Like Windows for unencrypted messages.
            return self.reply(500, b"")
        if sealed:
            body = self.unseal(body)
        try:
            request = soap.Request(body)
        except (ValueError, AttributeError, soap.ElementTree.ParseError) as error:
            with host.lock:
                host.refusals.append(f"malformed: {error}")
            return self.respond(500, soap.envelope(soap.fault("schema")), sealed, None)
        with host.lock:
            host.requests.append(request.action)
        before = host.mishap(request.action, "before")
        if before is not None:
            if before.startswith("fault:"):
                return self.respond(500, soap.envelope(soap.fault(before[6:])), sealed, None)
            return self.misbehave(before)
        status, content = host.answer(request, owner)
        after = host.mishap(request.action, "after")
        if after in ("drop", "empty500") or (after or "").isdigit():
            return self.misbehave(after)
        return self.respond(status, soap.envelope(content, request.message_id), sealed, after)

    def unseal(self, body):
        head, separator, rest = body.partition(b"\tContent-Type: application/octet-stream\r\n")
        length = re.search(rb"Length=(\d+)\r\n", head)
        if not separator or length is None or self.acceptor.sealed_type.encode() not in head:
            raise Refused("the sealed message has no such parts as it should")
        size = struct.unpack_from("<I", rest)[0]
        if not rest.endswith(BOUNDARY + b"--\r\n"):
            raise Refused("the sealed message has no end")
        data = rest[4 + size : -len(BOUNDARY) - 4]
        if len(data) != int(length.group(1)):
            raise Refused("the sealed message is not as long as it says")
        return self.acceptor.unseal(rest[4 : 4 + size], data)

    def respond(self, status, body, sealed, mishap):
        soap_type = "application/soap+xml;charset=UTF-8"
        if mishap == "bomb":
            entities = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 9))
            body = b'<!DOCTYPE b [<!ENTITY e0 "boom">' + entities + b"]>" + body.replace(b"</s:Body>", b"&e8;</s:Body>")
        if mishap == "deep":
            body = b"<a>" * 100_000
        if mishap == "many":
            body = b"<a>" + b"<b/>" * 100_000 + b"</a>"
        if mishap == "latin":
            body = b"\xff\xfe\x00 no XML at all"
        if not sealed or mishap == "unsealed":
            return self.reply(status, body, {"Content-Type": soap_type})
        signature, data = self.acceptor.seal(body)
        length = len(body)
        if mishap == "tampered":
            data = data[:40] + bytes([data[40] ^ 1]) + data[41:]
        if mishap == "bad_signature":
            signature = signature[:5] + bytes([signature[5] ^ 1]) + signature[6:]
        if mishap == "wrong_length":
            length -= 1
        if mishap == "replayed":
            # As if the reply had been sent before: the counter is behind.
            signature, data = self.last_sealed
        self.last_sealed = signature, data
        kind = self.acceptor.sealed_type
        settings = self.server.host.settings
        boundary = BOUNDARY.replace(b"--", b"-- ") if settings.get("spaced") else BOUNDARY
        end = b"\r\n" if settings.get("openEnded") else b"--\r\n"
        content = b"".join(
            [
                boundary + b"\r\n\tContent-Type: " + kind.encode() + b"\r\n",
                f"\tOriginalContent: type={soap_type};Length={length}\r\n".encode(),
                boundary + b"\r\n\tContent-Type: application/octet-stream\r\n",
                struct.pack("<I", len(signature)) + signature + data + boundary + end,
            ]
        )
        mime = f'multipart/encrypted;protocol="{kind}";boundary="Encrypted Boundary"'
        return self.reply(status, content, {"Content-Type": mime})

    def misbehave(self, what):
        if what == "drop":
            self.close_connection = True
            self.connection.close()
        elif what == "empty500":
            self.reply(500, b"")
        elif what == "html":
            self.reply(200, b"<html><body>Sign in to the proxy</body></html>", {"Content-Type": "text/html"})
        elif what == "redirect":
            self.reply(302, b"", {"Location": "http://198.51.100.1/wsman"})
        elif what == "hang":
            time.sleep(3600)
        elif what == "endless":
            self.send_response(200)
            self.send_header("Content-Type", "application/soap+xml")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
            except OSError:
                self.close_connection = True
        elif what == "headers":
            self.send_response(200)
            for number in range(10_000):
                self.send_header(f"X-{number}", "a" * 100)
            self.end_headers()
            self.close_connection = True
        elif what == "short":
            self.send_response(200)
            self.send_header("Content-Length", "100000000000000")
            self.end_headers()
            self.wfile.write(b"a" * 1000)
            self.close_connection = True
        elif what.isdigit():
            self.reply(int(what), b"")

    def unauthorized(self, listener):
        names = {"negotiate": ["Negotiate", "Kerberos"], "basic": ['Basic realm="WSMAN"']}
        methods = [each for each in listener["methods"] if each != "basic" or not self.server.host.settings.get("noBasic")]
        offered = [name for method in methods for name in names.get(method, [])]
        self.reply(401, b"", {"WWW-Authenticate": ", ".join(offered)})

    def reply(self, status, body, headers=None):
        self.send_response(status)
        if self.authenticated and getattr(self, "last_token", ""):
            self.send_header("WWW-Authenticate", f"{self.scheme} {self.last_token}")
            self.last_token = ""
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, host, listener):
        super().__init__(("127.0.0.1", listener.get("port", 0)), Handler)
        self.host, self.listener = host, listener
        self.tls = None
        listener.setdefault("binding", None)
        listener.setdefault("strict", False)
        listener.setdefault("plain", False)
        if not listener["tls"]:
            return
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(listener["certificate"], listener["key"])
        if "clientCa" in listener:
            self.tls.load_verify_locations(listener["clientCa"])
            self.tls.verify_mode = ssl.CERT_OPTIONAL
            self.tls.post_handshake_auth = True
        with open(listener["certificate"], encoding="ascii") as file:
            der = ssl.PEM_cert_to_DER_cert(file.read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
        listener["binding"] = binding_of(der, listener["digest"])

    def finish_request(self, request, client_address):
        # In the connection's own thread: a client that doesn't complete the handshake blocks nobody.
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        pass


def control(host):
    for text in sys.stdin:
        asked = json.loads(text)
        result = None
        with host.lock:
            if asked["do"] == "stats":
                result = {
                    "shells": len(host.shells),
                    "created": host.created,
                    "handshakes": host.handshakes,
                    "requests": list(host.requests),
                    "refusals": list(host.refusals),
                }
            elif asked["do"] == "mishap":
                host.mishaps.append({"action": "*", "moment": "before", "times": 1, **asked["mishap"]})
            elif asked["do"] == "reset":
                host.mishaps.clear()
                host.requests.clear()
                host.refusals.clear()
                host.handshakes = host.created = 0
                host.settings.update(asked.get("settings", {}))
            elif asked["do"] == "forget":
                host.epoch += 1
            elif asked["do"] == "lose_shells":
                for shell in host.shells.values():
                    shell.end()
                host.shells.clear()
        print(json.dumps({"id": asked["id"], "result": result}), flush=True)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = {**json.load(file), "file": sys.argv[1]}
    host = Host(settings)
    servers = {name: Server(host, listener) for name, listener in settings["listeners"].items()}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"ready": {name: server.server_port for name, server in servers.items()}}), flush=True)
    control(host)
    for shell in list(host.shells.values()):
        shell.end()


main()
