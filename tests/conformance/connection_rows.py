"""Rows of the table about connections: who may speak, HTTP itself, and who holds nobody up."""
import json
import socket
import ssl
import subprocess

import world
from client import TIMEOUT_S, read_answer
from rows import ENC, GET, ROWS, STATUS, Fault, Row, canned, edit, row, status_is

SILENT_SOCKETS = 10_000


# ---- Who is who.

def handshake_fails(kme, context=None, plain=False):
    try:
        if plain:
            with socket.create_connection(kme.address(), timeout=5) as raw:
                raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                world.expect(not raw.recv(100).startswith(b"HTTP"), "plain HTTP is answered")
            return
        got = kme.ask("GET", STATUS, context=context)
    except (OSError, ssl.SSLError, world.http.client.HTTPException):
        return
    raise world.Failure(f"answered {got.status}")


@row("4, 5.1", "plain HTTP refused", Fault(plain=True, canned=b"HTTP/1.1 200 OK\r\n\r\n"))
def _(kme):
    handshake_fails(kme, plain=True)


@row("4, 5.1", "TLS 1.1 refused; 1.2 and 1.3 work", Fault(any_tls=True, any_client=True))
def _(kme):
    for version, works in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                           (ssl.TLSVersion.TLSv1_3, True)):
        context = kme.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        if works:
            world.expect(kme.ask("GET", STATUS, context=context).status == 200, f"{version}")
        else:
            handshake_fails(kme, context)


@row("5.1", "mutual authentication: no certificate", Fault(any_client=True))
def _(kme):
    handshake_fails(kme, kme.context(cert="none"))


for kind in ("revoked", "foreign-CA", "expired", "not-yet-valid", "node's", "operator's"):
    @row("5.1", f"mutual authentication: a {kind} certificate", Fault(any_client=True))
    def _(kme, kind=kind):
        handshake_fails(kme, kme.context(cert=kme.demo.bad_certificates[kind]))


def by_header(request, sae):
    return dict(request.headers).get("X-SAE-ID", sae)


@row("5.1", "SAE ID only from the certificate: not from a header", Fault(act_as=by_header))
def _(kme):
    got = kme.ask("GET", STATUS, headers={"X-SAE-ID": "sae-3", "X-SSL-Client-CN": "sae-3"}).json()
    world.expect(got["master_SAE_ID"] == "sae-1", f"{got}")


def by_body(request, sae):
    return json.loads(request.body).get("master_SAE_ID", sae) if request.body else sae


@row("5.1", "SAE ID only from the certificate: not from the body", Fault(act_as=by_body))
def _(kme):
    keys = kme.drawn(master_SAE_ID="sae-3")
    world.expect(kme.fetch(list(keys)).status == 200, "it was drawn as another SAE")


@row("5.1", "KME ID in the server certificate equals source_KME_ID",
     edit(lambda b: b.update(source_KME_ID="n2")))
def _(kme):
    with kme.connect() as client:
        names = [v for k, v in client.getpeercert()["subjectAltName"] if k == "URI"]
    world.expect(names == ["keyhop://node/" + kme.ask("GET", STATUS).json()["source_KME_ID"]], f"{names}")


@row("4", "each request authenticated: SAE suspended during keep-alive, next request 401",
     status_is(200))
def _(kme):
    with kme.connect("sae-2") as client:
        stream = client.makefile("rb")

        def ask():
            client.sendall(GET)
            return read_answer(stream)

        world.expect(ask().status == 200, "not served before")
        try:
            operator(kme, "n2", "sae", "suspend", "sae-2")
            got = ask()
            world.expect((got.status, got.body) == (401, b'{"message":"Unauthorized"}'),
                         f"{got.status} {got.body[:99]}")
        finally:
            operator(kme, "n2", "sae", "resume", "sae-2")
        world.expect(ask().status == 200, "not served again")


def operator(kme, node, *words):
    who = kme.demo.world["operator"]
    done = subprocess.run([f"{kme.demo.options.bin}/keyhop", "--node", kme.demo.node(node)["admin"],
                           "--ca", kme.demo.world["ca"], "--cert", who["cert"], "--key", who["key"],
                           *words], capture_output=True, text=True, timeout=60)
    world.expect(done.returncode == 0, f"{words}: {done.stderr}")


@row("clients", "host name checks: node certificates carry dns and ip SANs", Fault(server="sae"))
def _(kme):
    for name in ("localhost", "127.0.0.1"):
        with socket.create_connection(kme.address(), timeout=10) as plain:
            kme.context().wrap_socket(plain, server_hostname=name).close()


# ---- HTTP itself.

def http(text, fault, sent, statuses, stays=None, body=None):
    def check(kme):
        answers, stayed = kme.raw(sent, count=len(statuses))
        got = [a.status for a in answers]
        world.expect(got == statuses, f"{got}, not {statuses}: {answers[0].body[:99]}")
        world.expect(stays in (None, stayed), f"the connection {'stayed' if stayed else 'ended'}")
        if body:
            world.expect(all(body in a.body for a in answers), f"{answers[0].body[:99]}")
    ROWS.append(Row("RFC 9112", text, check, fault))


HEAD = f"POST {ENC} HTTP/1.1\r\nHost: kme\r\n".encode()
http("keep-alive and pipelining, answered in order", canned(200, b'{"keys":[]}'),
     GET * 3 + b"GET /x HTTP/1.1\r\nHost: kme\r\n\r\n", [200, 200, 200, 404], stays=True)
http("Connection: close is obeyed", canned(503), GET[:-2] + b"Connection: close\r\n\r\n", [200],
     stays=False, body=b'"keys"')
http("HTTP/1.0, read to end", canned(505), f"GET {ENC} HTTP/1.0\r\n\r\n".encode(), [200], stays=False,
     body=b'"keys"')
http("HTTP/1.0 with keep-alive", canned(200, b'{"keys":[]}'),
     f"GET {ENC} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode(), [200], stays=True)
http("chunked bodies, with a trailer", canned(411),
     HEAD + b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"size": \r\n4\r\n512}\r\n0\r\nX: y\r\n\r\n', [200],
     stays=True, body=b'"keys"')
http("Expect: 100-continue", canned(200), HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
     [100])
http("body over 1 MiB: 413", canned(200), HEAD + b"Content-Length: 1048577\r\n\r\n", [413], stays=False)
http("header over the limit: 431", canned(200), HEAD + b"X: " + b"x" * 40_000, [431], stays=False)
http("trailers over the limit: 431", canned(200),
     HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 60_000, [431], stays=False)
http("two lengths: 400", canned(200),
     HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", [400], stays=False)
http("no HTTP: 400", canned(200), b"hello\r\n\r\n", [400], stays=False)
http("no Host: 400", canned(200), f"GET {ENC} HTTP/1.1\r\n\r\n".encode(), [400], stays=False)


# ---- Who is silent or slow holds nobody but itself.

@row("limits", "10,000 silent sockets from one address lock out no certificate holder",
     Fault(serial=True))
def _(kme):
    count = 3 if kme.faulty else SILENT_SOCKETS
    held = [socket.create_connection(kme.address(), timeout=TIMEOUT_S) for _ in range(count)]
    try:
        others_are_served(kme)
    finally:
        for one in held:
            one.close()


def others_are_served(kme):
    # Before the silent ones' time for a handshake is over.
    seconds = 3 if kme.faulty else 9
    with socket.create_connection(kme.address(), timeout=seconds) as plain:
        with kme.context().wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(GET)
            world.expect(client.recv(15).startswith(b"HTTP/1.1 200"), "not served")


for what, part in [("header", b"GET / HT"), ("body", HEAD + b"Content-Length: 9\r\n\r\n{")]:
    @row("limits", f"a client that is slow with its {what} holds nobody but itself", Fault(serial=True))
    def _(kme, part=part):
        with kme.connect() as slow:
            slow.sendall(part)
            others_are_served(kme)


@row("limits", "a client that does not read its answers holds nobody but itself", Fault(serial=True))
def _(kme):
    with kme.connect() as deaf:
        deaf.sendall(f"GET {STATUS} HTTP/1.1\r\nHost: kme\r\n\r\n".encode() * 2000)
        others_are_served(kme)
