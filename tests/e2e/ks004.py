"""A client of ETSI GS QKD 004 in the two binary forms that existing clients speak over TLS."""
import base64
import json
import os
import socket
import ssl
import struct
import subprocess
import uuid

import world

VERSIONS = {"A": b"\x01\x00\x01", "B": b"\x02\x01\x01"}
QOS_FIELDS = ["chunk_bytes", "max_bps", "min_bps", "jitter_bps", "priority", "timeout_ms",
              "ttl_seconds"]
QOS = dict(zip(QOS_FIELDS, [32, 1_000_000, 0, 1_000_000, 0, 5000, 60]))
JSON = "application/json"


class Binary:
    """One SAE at its home node over one connection, in one dialect. For one thread."""

    def __init__(self, demo, sae_id, dialect, timeout=30):
        sae = demo.sae(sae_id)
        self.dialect = dialect
        context = ssl.create_default_context(cafile=demo.world["ca"])
        context.load_cert_chain(sae["cert"], sae["key"])
        host, port = demo.node(sae["node"])["etsi004"].split(":")
        raw = socket.create_connection((host, int(port)), timeout=timeout)
        self.socket = context.wrap_socket(raw, server_hostname=host)

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the node closed the connection")
            data += part
        return data

    def ask(self, service, payload):
        """The payload that answers; raises ConnectionError for an error message."""
        self.socket.sendall(VERSIONS[self.dialect] + bytes([service])
                            + struct.pack(">I", len(payload)) + payload)
        head = self.read(8)
        answer = self.read(struct.unpack(">I", head[4:])[0])
        if head[3] == 0:
            raise ConnectionError("an error message")
        world.expect(head[:3] == VERSIONS[self.dialect] and head[3] == service + 1,
                     f"the header of an answer: {head.hex()}")
        return answer

    def open(self, source, destination, ksid=None, mimetype="", **qos):
        wanted = {**QOS, **qos}
        kind = mimetype.encode()
        kind = kind.ljust(256, b"\0") if self.dialect == "A" else kind + b"\0"
        payload = (source.encode() + b"\0" + destination.encode() + b"\0"
                   + struct.pack(">7I", *(wanted[f] for f in QOS_FIELDS)) + kind
                   + (uuid.UUID(ksid).bytes if ksid else bytes(16)))
        answer = self.ask(0x02, payload)
        status = struct.unpack(">I", answer[:4])[0]
        if len(answer) == 4:
            world.expect(self.dialect == "A" and status not in (0, 7), f"short answer {status}")
            return status, None, None
        world.expect(self.dialect == "B" or status in (0, 7), f"long answer {status}")
        granted = dict(zip(QOS_FIELDS, struct.unpack(">7I", answer[4:32])))
        granted["mimetype"] = answer[32:-16].rstrip(b"\0").decode()
        world.expect(self.dialect == "B" or len(answer) == 4 + 28 + 256 + 16, "dialect A pads")
        return status, granted, str(uuid.UUID(bytes=answer[-16:]))

    def get(self, ksid, index, room=0):
        """(status, key, metadata, size needed)"""
        payload = uuid.UUID(ksid).bytes + struct.pack(">II", index, room)
        if self.dialect == "B":
            payload += bytes(room)
        answer = self.ask(0x04, payload)
        status = struct.unpack(">I", answer[:4])[0]
        if self.dialect == "A" and status != 0:
            world.expect(len(answer) == (8 if status == 8 else 4), f"answer {answer.hex()}")
            return status, b"", "", struct.unpack(">I", answer[4:])[0] if status == 8 else 0
        told, length = struct.unpack(">II", answer[4:12])
        world.expect(told == index, f"index {told} for {index}")
        key, rest = answer[12:12 + length], answer[12 + length:]
        size = struct.unpack(">I", rest[:4])[0]
        world.expect(len(rest) == 4 + size, "metadata as long as its length says")
        return status, key, "" if status == 8 else rest[4:].decode(), size if status == 8 else 0

    def close_stream(self, ksid):
        return struct.unpack(">I", self.ask(0x08, uuid.UUID(ksid).bytes))[0]


class Grpc:
    """The same over gRPC, by the command line client."""

    def __init__(self, demo, sae_id):
        sae = demo.sae(sae_id)
        self.argv = [os.path.join(demo.options.bin, "keyhop"), "--node",
                     demo.node(sae["node"])["grpc"], "--ca", demo.world["ca"], "--cert",
                     sae["cert"], "--key", sae["key"], "--timeout", "30", "--json", "stream"]

    def ask(self, *words):
        done = subprocess.run([*self.argv, *words], capture_output=True, text=True, timeout=60)
        answer = json.loads(done.stdout or "{}")
        if "status" not in answer:  # A refusal of gRPC's, or no connection.
            raise ConnectionError(done.stderr.strip())
        return answer

    def open(self, source, destination, ksid=None, mimetype="", **qos):
        wanted = {**QOS, **qos}
        names = ["--chunk", "--max-bps", "--min-bps", "--jitter", "--priority", "--call-timeout",
                 "--ttl"]
        words = [w for n, f in zip(names, QOS_FIELDS) for w in (n, str(wanted[f]))]
        words += ["--metadata"] if mimetype else []
        words += ["--id", ksid] if ksid else []
        answer = self.ask("open", source, destination, *words)
        return answer["status"], answer["qos"], answer["key_stream_id"]

    def get(self, ksid, index, room=0):
        answer = self.ask("get", ksid, str(index), "--metadata-size", str(room))
        metadata = "" if answer["metadata"] is None else json.dumps(answer["metadata"])
        return (answer["status"], base64.b64decode(answer["key"]), metadata,
                answer["metadata_size"])

    def close_stream(self, ksid):
        return self.ask("close", ksid)["status"]
