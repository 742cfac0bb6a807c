"""Clients of the suite: each SAE at its home, or at a proxy that stands for it."""
import base64
import http.client
import json
import re
import socket
import ssl

import world

TIMEOUT_S = 20
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def read_answer(stream):
    line = stream.readline(1 << 16)
    world.expect(line.startswith(b"HTTP/1.1 "), f"no answer: {line!r}")
    headers = {}
    while (header := stream.readline(1 << 16)) not in (b"\r\n", b""):
        name, value = header.decode("latin-1").split(":", 1)
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Answer(int(line.split()[1]), headers, body)


class Kme:
    def __init__(self, demo, proxy_port=None):
        self.demo, self.proxy_port = demo, proxy_port
        self.faulty = proxy_port is not None

    def address(self, sae="sae-1"):
        if self.proxy_port is not None:
            return "127.0.0.1", self.proxy_port
        host, port = self.demo.node(self.demo.sae(sae)["node"])["rest"].split(":")
        return host, int(port)

    def context(self, sae="sae-1", cert=None):
        context = ssl.create_default_context(cafile=self.demo.world["ca"])
        files = cert or (self.demo.sae(sae)["cert"], self.demo.sae(sae)["key"])
        if files != "none":
            context.load_cert_chain(*files)
        return context

    def connect(self, sae="sae-1", context=None):
        plain = socket.create_connection(self.address(sae), timeout=TIMEOUT_S)
        return (context or self.context(sae)).wrap_socket(plain, server_hostname="localhost")

    def ask(self, method, path, body=None, sae="sae-1", headers=None, context=None):
        client = http.client.HTTPSConnection(*self.address(sae), timeout=TIMEOUT_S,
                                             context=context or self.context(sae))
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        if headers is None:
            headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            client.request(method, path, body, headers)
            got = client.getresponse()
            return Answer(got.status, {n.lower(): v for n, v in got.getheaders()}, got.read())
        finally:
            client.close()

    def raw(self, sent, sae="sae-1", count=1):
        """The answers to these bytes on one connection, and whether it stayed open."""
        with self.connect(sae) as client:
            client.sendall(sent)
            stream = client.makefile("rb")
            answers = [read_answer(stream) for _ in range(count)]
            client.settimeout(0.3)
            try:
                stays = client.recv(1) != b""
            except TimeoutError:
                stays = True
            except OSError:
                stays = False
            return answers, stays

    def draw(self, slave="sae-4", sae="sae-1", **options):
        return self.ask("POST", f"/api/v1/keys/{slave}/enc_keys", options, sae)

    def fetch(self, ids, sae="sae-4", master="sae-1"):
        return self.ask("POST", f"/api/v1/keys/{master}/dec_keys",
                        {"key_IDs": [{"key_ID": i} for i in ids]}, sae)

    def drawn(self, **options):
        """{key_ID: key} of a draw that has to work."""
        answer = self.draw(**options)
        world.expect(answer.status == 200, f"draw: {answer.status} {answer.body}")
        return self.container(answer)

    @staticmethod
    def container(answer):
        """{key_ID: key bytes}, checked strictly."""
        body = answer.json()
        world.expect(set(body) == {"keys"}, f"members of the container: {sorted(body)}")
        keys = {}
        for entry in body["keys"]:
            world.expect(set(entry) == {"key_ID", "key"}, f"members of a key: {sorted(entry)}")
            world.expect(UUID.fullmatch(entry["key_ID"]), f"no UUID: {entry['key_ID']}")
            keys[entry["key_ID"]] = base64.b64decode(entry["key"], validate=True)
        world.expect(len(keys) == len(body["keys"]), "a key_ID occurs twice")
        return keys
