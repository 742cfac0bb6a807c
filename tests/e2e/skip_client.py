"""Encryptors that speak SKIP: with a pre-shared key (`openssl s_client`), or with a certificate."""
import base64
import dataclasses
import http.client
import json
import os
import re
import ssl
import subprocess
import time

import world

TIMEOUT_S = 20


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict  # Lower-case names.
    body: dict


def parse(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    return Answer(int(lines[0].split()[1]), headers, json.loads(body or b"{}"))


def der(tag, content):
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82, size >> 8, size & 255])
    return bytes([tag]) + length + content


def integer(number):
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def session_pem(key):
    """A TLS 1.3 session of OpenSSL whose secret is the key, for TLS_AES_256_GCM_SHA384."""
    fields = (integer(1) + integer(0x0304) + der(0x04, b"\x13\x02") + der(0x04, b"") +
              der(0x04, key) + der(0xa1, integer(int(time.time()))) + der(0xa2, integer(3600)))
    text = base64.encodebytes(der(0x30, fields)).decode()
    return f"-----BEGIN SSL SESSION PARAMETERS-----\n{text}-----END SSL SESSION PARAMETERS-----\n"


class Psk:
    """One request a connection. `modes`: what s_client is told of version and suites."""

    MODES = {
        "TLS 1.2 DHE-PSK": ["-tls1_2", "-cipher", "DHE-PSK-AES256-GCM-SHA384"],
        "TLS 1.2 PSK": ["-tls1_2", "-cipher", "PSK-AES256-GCM-SHA384"],
        "TLS 1.2 CBC": ["-tls1_2", "-cipher", "DHE-PSK-AES256-CBC-SHA384"],
        "TLS 1.3 PSK": ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
    }

    def __init__(self, options, port, identity, key, mode="TLS 1.3 PSK"):
        self.argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet",
                     "-psk_identity", identity, *self.MODES[mode]]
        if mode == "TLS 1.3 PSK":
            path = os.path.join(options.work, f"session-{identity}")
            with open(path, "w") as f:
                f.write(session_pem(key))
            self.argv += ["-psk_session", path]
        else:
            self.argv += ["-psk", key.hex()]

    def ask(self, target, method="GET"):
        """Raises ConnectionError where the handshake fails."""
        request = f"{method} {target} HTTP/1.1\r\nHost: kp\r\nConnection: close\r\n\r\n"
        done = subprocess.run(self.argv, input=request.encode(), capture_output=True,
                              timeout=TIMEOUT_S)
        if not done.stdout.startswith(b"HTTP/1.1 "):
            raise ConnectionError(done.stderr.decode(errors="replace"))
        return parse(done.stdout)


class Certificate:
    """Over one connection, made anew when it broke."""

    def __init__(self, demo, port, sae_id, version=None):
        sae = demo.sae(sae_id)
        self.context = ssl.create_default_context(cafile=demo.world["ca"])
        self.context.load_cert_chain(sae["cert"], sae["key"])
        if version is not None:
            self.context.minimum_version = self.context.maximum_version = version
        self.port = port
        self.connection = None

    def ask(self, target, method="GET"):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(
                    "127.0.0.1", self.port, context=self.context, timeout=TIMEOUT_S)
            self.connection.request(method, target)
            answer = self.connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, json.loads(answer.read() or b"{}"))
        except world.NO_ANSWER:
            self.connection = None
            raise


def port_of(demo, node):
    """Where a node's SKIP listens, as its log says; waits until it is ready."""
    path = demo.processes[node]["log"]
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while True:
        with open(path, errors="replace") as f:
            start = f.read().rsplit(" info keyhopd ", 1)[-1]
        found = re.search(r"skip: listens at \S+, port (\d+)", start)
        if found and start.rstrip().find(" ready") >= 0:
            return int(found.group(1))
        world.expect(time.monotonic() < deadline, f"{node} is not ready: {world.tail(path)}")
        time.sleep(0.05)
