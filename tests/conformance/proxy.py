"""A front end with one planted fault: it stands between a client and a real KME and breaks one rule.

It shows the node's certificate, finds out which SAE the client is, and passes requests to that SAE's
home as that SAE; the fault changes the request, the answer, or how the connection is handled.
"""
import contextlib
import http.client
import json
import socket
import ssl
import threading


class Fault:
    """request(r) and answer(r, a) change what passes; the rest changes the connection."""

    def __init__(self, request=None, answer=None, canned=None, act_as=None, any_client=False,
                 any_tls=False, plain=False, serial=False, server="node"):
        self.request = request
        self.answer = answer
        self.canned = canned          # Bytes said to whatever comes, in the place of a KME.
        self.act_as = act_as          # function(request, sae): whom the KME takes the client for.
        self.any_client = any_client  # Asks for no certificate: taken for sae-1.
        self.any_tls = any_tls        # Speaks TLS 1.1.
        self.plain = plain            # Speaks no TLS.
        self.serial = serial          # Waits for one handshake before it accepts the next.
        self.server = server          # "sae": shows a certificate that names no node.


class Message:
    def __init__(self, method=None, target=None, status=None, headers=(), body=b""):
        self.method, self.target, self.status = method, target, status
        self.headers, self.body = list(headers), body

    def json(self):
        return json.loads(self.body)

    def set_json(self, value):
        self.body = json.dumps(value).encode()


def read_request(stream):
    line = stream.readline(1 << 16)
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers, size = [], 0
    while (line := stream.readline(1 << 16)) not in (b"\r\n", b""):
        name, value = line.decode("latin-1").split(":", 1)
        headers.append((name, value.strip()))
        if name.lower() == "content-length":
            size = int(value)
    return Message(method, target, headers=headers, body=stream.read(size))


class Proxy:
    def __init__(self, demo, fault):
        self.demo, self.fault = demo, fault
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.open = set()
        self.context = self._server_context()
        threading.Thread(target=self._accept, daemon=True).start()

    def _server_context(self):
        node = self.demo.node("n1") if self.fault.server == "node" else self.demo.sae("sae-2")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.fault.any_tls:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.load_cert_chain(node["cert"], node["key"])
        if not self.fault.any_client:
            context.load_verify_locations(self.demo.sae_ca())
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.open.add(client)
            if self.fault.serial:
                self._serve(client)
            else:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException), client:
            if not self.fault.plain:
                client = self.context.wrap_socket(client, server_side=True)
            with client:
                self._talk(client, self._name_of(client))

    def _name_of(self, client):
        certificate = None if self.fault.plain else client.getpeercert()
        for kind, value in (certificate or {}).get("subjectAltName", ()):
            if kind == "URI":
                return value.rsplit("/", 1)[1]
        return "sae-1"

    def _talk(self, client, sae):
        stream = client.makefile("rb")
        while True:
            if self.fault.canned is not None:
                client.recv(1 << 16)
                client.sendall(self.fault.canned)
                return
            request = read_request(stream)
            if request is None:
                return
            answer = self._ask(request, sae)
            head = f"HTTP/1.1 {answer.status} Said\r\nContent-Length: {len(answer.body)}\r\n"
            head += "".join(f"{n}: {v}\r\n" for n, v in answer.headers)
            client.sendall(head.encode() + b"\r\n" + answer.body)

    def _ask(self, request, sae):
        if self.fault.act_as:
            sae = self.fault.act_as(request, sae)
        if self.fault.request:
            self.fault.request(request)
        home = self.demo.sae(sae)
        host, port = self.demo.node(home["node"])["rest"].split(":")
        context = ssl.create_default_context(cafile=self.demo.world["ca"])
        context.load_cert_chain(home["cert"], home["key"])
        upstream = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
        upstream.request(request.method, request.target, request.body or None,
                         {n: v for n, v in request.headers
                          if n.lower() not in ("content-length", "host", "accept-encoding")})
        got = upstream.getresponse()
        answer = Message(status=got.status, body=got.read(),
                         headers=[(n, v) for n, v in got.getheaders()
                                  if n.lower() not in ("content-length", "connection")])
        upstream.close()
        if self.fault.answer:
            self.fault.answer(request, answer)
        return answer

    def close(self):
        # A blocked accept ends with the shutdown only.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in self.open:
            with contextlib.suppress(OSError):
                client.close()
