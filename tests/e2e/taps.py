"""Taps on Kx and Kq-1 of a demo network: what goes over either, above TLS.

A tap is a proxy that ends TLS with the listener's certificate and begins it anew with the caller's:
only a test, which owns every key, can stand there. It passes bytes on as they come and reads them
as HTTP/2 (RFC 9113), gRPC and protobuf.
"""
import asyncio
import os
import ssl
import sys
import threading
import time

import world

sys.path.insert(0, os.path.join(world.ROOT, "deploy", "demo"))
import network  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, PADDED = 0, 0x8


def varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """[(number, value)] of a protobuf: numbers as int, the rest as bytes."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                size, at = varint(data, at)
            value = bytes(data[at:at + size])
            at += size
        found.append((number, value))
    world.expect(at == len(data), "a tapped message is cut off")
    return found


class Half:
    """One direction of one connection: all its bytes, and the gRPC messages in it."""

    def __init__(self, from_caller, on_message):
        self.raw = bytearray()
        self.data = {}  # Stream: what its DATA frames carried, without their seams.
        self.on_message = on_message
        self.parsed = len(PREFACE) if from_caller else 0
        self.messages = {}  # Stream: up to where its data were cut into messages.

    def feed(self, data):
        self.raw += data
        while len(self.raw) >= self.parsed + 9:
            head = self.raw[self.parsed:self.parsed + 9]
            end = self.parsed + 9 + int.from_bytes(head[:3], "big")
            if len(self.raw) < end:
                return
            if head[3] == DATA:
                body = self.raw[self.parsed + 9:end]
                if head[4] & PADDED:
                    body = body[1:len(body) - body[0]]
                self.add(int.from_bytes(head[5:], "big"), body)
            self.parsed = end

    def add(self, stream, body):
        data = self.data.setdefault(stream, bytearray())
        data += body
        at = self.messages.get(stream, 0)
        while len(data) >= at + 5:
            end = at + 5 + int.from_bytes(data[at + 1:at + 5], "big")
            if len(data) < end:
                break
            world.expect(data[at] == 0, "a tapped message is compressed")
            self.on_message(bytes(data[at + 5:end]))
            at = end
        self.messages[stream] = at


def at_hand(rest, slave):
    try:
        status, body = rest.status(slave)
    except world.NO_ANSWER:
        return 0
    return body["stored_key_count"] if status == 200 else 0


class Tap:
    """Between one caller and one listener. `shown` and `used` are (certificate, key): what the
    caller is shown, and what the listener is."""

    def __init__(self, name, target, ca, shown, used, on_caller_message, on_listener_message):
        self.name = name
        self.target = target
        self.halves = []
        self.on_messages = (on_caller_message, on_listener_message)
        self.failures = []
        self.writers = set()
        self.served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.served.load_cert_chain(*shown)
        self.served.load_verify_locations(ca)
        self.served.verify_mode = ssl.CERT_REQUIRED
        self.called = ssl.create_default_context(cafile=ca)
        self.called.check_hostname = False  # Nodes go by the ID in their certificate.
        self.called.load_cert_chain(*used)
        for context in (self.served, self.called):
            context.set_alpn_protocols(["h2"])

    async def listen(self, port=0):
        self.server = await asyncio.start_server(self.serve, network.HOST, port, ssl=self.served)
        self.address = f"{network.HOST}:{self.server.sockets[0].getsockname()[1]}"

    async def cut(self):
        """Ends all that passes, and lets nobody in."""
        self.server.close()
        await self.server.wait_closed()
        for writer in self.writers:
            writer.transport.abort()

    async def mend(self):
        await self.listen(int(self.address.split(":")[1]))

    async def serve(self, reader, writer):
        host, port = self.target.split(":")
        try:
            onward = await asyncio.open_connection(host, int(port), ssl=self.called)
        except OSError:  # The listener is down: so is its tap.
            writer.close()
            return
        halves = [Half(True, self.on_messages[0]), Half(False, self.on_messages[1])]
        self.halves += halves
        self.writers |= {writer, onward[1]}
        await asyncio.gather(self.pump(reader, onward[1], halves[0]),
                             self.pump(onward[0], writer, halves[1]))

    async def pump(self, reader, writer, half):
        try:
            while data := await reader.read(1 << 16):
                half.feed(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # One side was killed.
        except Exception as error:
            self.failures.append(f"{self.name}: {type(error).__name__}: {error}")
        finally:
            writer.close()


class TappedNetwork(world.Demo):
    """A network of real processes; all that its links carry passes by a tap."""

    def __init__(self, options, topology):
        super().__init__(options, "network")
        self.topology = topology
        self.pads = {}  # (link, module pair, run, block): the bytes.
        self.frames = []  # Relay frames in order, as `fields` gives them.
        self.kx_messages = 0
        self.unequal = 0  # Pads that the two ends were given differently.
        self.loop = asyncio.new_event_loop()
        self.kx, self.kq1 = {}, {}

    # What the taps hear; on the loop's thread.
    def on_kx(self, message):
        self.kx_messages += 1
        for number, value in fields(message):
            if number == 5:
                self.frames.append(fields(value))

    def module_messages(self, link):
        """A reader of one module's messages."""
        attached = {}

        def on_message(message):
            for number, value in fields(message):
                if number == 1:
                    attached.update(fields(value))
                elif number == 2:
                    block = dict(fields(value))
                    place = (link, attached.get(2, 0), block.get(1, 0), block.get(2, 0))
                    if self.pads.setdefault(place, block[3]) != block[3]:
                        self.unequal += 1
        return on_message

    def start(self):
        topology, run_dir = self.topology, self.run_dir
        os.umask(0o077)
        os.makedirs(os.path.join(run_dir, "logs"))
        ports = network.choose_ports(topology, run_dir)
        network.make_certificates(topology, world.ROOT, run_dir)
        described = network.describe(topology, run_dir, ports, [])
        self.make_taps(described)
        self.run_taps()

        def tapped(listener, taps):
            """The ports with each link's tap in the place of what it leads to."""
            return {node: {**ports[node], **{listener: tap.address.split(":")[1]
                                             for tap in taps if tap.node == node}}
                    for node in topology.nodes}

        argv = {}
        for node in topology.nodes:
            seen = tapped("kx", [tap for (a, _), tap in self.kx.items() if a == node])
            path = os.path.join(run_dir, f"{node}.yaml")
            network.write_file(path, network.node_config(
                topology, run_dir, {**seen, node: ports[node]}, node))
            argv[node] = [os.path.join(self.options.bin, "keyhopd"), "--config", path]
        for index, (a, b) in enumerate(topology.links):
            name = "qkd-" + network.link_id(a, b)
            seen = tapped("kq1", [tap for (link, _), tap in self.kq1.items() if link == (a, b)])
            path = os.path.join(run_dir, f"{name}.yaml")
            network.write_file(path, network.simulator_config(topology, run_dir, seen, index))
            os.makedirs(os.path.join(run_dir, "state", name))
            argv[name] = [os.path.join(self.options.bin, "keyhop-qkdsim"), "--config", path]
        self.processes = {
            name: {"name": name, "argv": words, "cwd": run_dir, "env": dict(os.environ),
                   "log": os.path.join(run_dir, "logs", f"{name}.log")}
            for name, words in argv.items()}
        self.world = {**described, "processes": list(self.processes.values())}
        for name in self.processes:
            self.restart(name)
        return self

    def make_taps(self, described):
        nodes = {node["id"]: node for node in described["nodes"]}
        for a, b in self.topology.links:
            own = {n: (nodes[n]["cert"], nodes[n]["key"]) for n in (a, b)}
            # The lower ID dials.
            tap = Tap(f"kx-{a}-{b}", nodes[b]["kx"], described["ca"], own[b], own[a], self.on_kx,
                      self.on_kx)
            tap.node = b
            self.kx[a, b] = tap
            link = network.link_id(a, b)
            module = os.path.join(self.run_dir, "pki", "modules", f"qkd-{link}", "module")
            for end in (a, b):
                # One module pair a link: one reader keeps up with its attachments.
                tap = Tap(f"kq1-{link}-{end}", nodes[end]["kq1"], described["ca"], own[end],
                          (f"{module}.crt", f"{module}.key"), self.module_messages(link),
                          lambda message: None)
                tap.node = end
                self.kq1[(a, b), end] = tap

    def run_taps(self):
        ready = threading.Event()

        async def listen():
            for tap in self.taps():
                await tap.listen()
            ready.set()

        def run():
            asyncio.set_event_loop(self.loop)
            self.loop.create_task(listen())
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        world.expect(ready.wait(10), "the taps do not listen")

    def wait_until_all_have(self, keys):
        clients = {sae["id"]: world.Rest(self, sae["id"]) for sae in self.world["saes"]}
        deadline = time.monotonic() + world.UP_WITHIN_S
        waiting = self.pairs()
        while waiting:
            waiting = [(a, b) for a, b in waiting if at_hand(clients[a], b) < keys]
            world.expect(time.monotonic() < deadline, f"less than {keys} keys at hand: {waiting}")
            time.sleep(0.2)

    def partition(self):
        """No node reaches another."""
        for tap in self.kx.values():
            asyncio.run_coroutine_threadsafe(tap.cut(), self.loop).result(10)

    def heal(self):
        for tap in self.kx.values():
            asyncio.run_coroutine_threadsafe(tap.mend(), self.loop).result(10)

    def taps(self):
        return list(self.kx.values()) + list(self.kq1.values())

    def check_taps(self):
        for tap in self.taps():
            world.expect(not tap.failures, f"{tap.failures[:3]}")
            world.expect(tap.halves, f"nothing passed by {tap.name}")

    def write_kx(self, folder):
        """All Kx traffic as files: as it came, and with the seams of HTTP/2 taken out. Its size."""
        os.makedirs(folder, exist_ok=True)
        size = 0
        for tap in self.kx.values():
            for number, half in enumerate(tap.halves):
                size += len(half.raw)
                parts = {"raw": half.raw, **{f"stream-{s}": d for s, d in half.data.items()}}
                for name, data in parts.items():
                    with open(os.path.join(folder, f"{tap.name}-{number}.{name}"), "wb") as f:
                        f.write(bytes(data))
        return size

    def stop(self):
        started = time.monotonic()
        for name in self.processes if self.world else ():
            if world.alive(self.processes[name]["pid"]):
                self.signal(name, 15)
        while (left := self.pids_running()) and time.monotonic() < started + world.DOWN_WITHIN_S:
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, 9)
        self.reap()
        self.loop.call_soon_threadsafe(self.loop.stop)
        world.expect(not left, f"processes did not end within {world.DOWN_WITHIN_S} s: {left}")
