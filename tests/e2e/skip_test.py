"""SKIP on real processes: every row of skip_rows.py over real TLS, and each against its fault; keys
that are replaced while the node runs, wrong ones, and none of them in any log or file of a node."""
import base64
import contextlib
import os
import re
import subprocess
import threading
import time

import searches
import skip_client
import world
from skip_rows import ROWS
from world import expect

SAES = {"A": "sae-1", "B": "sae-4", "C": "sae-6"}
IDENTITIES = {"A": "router-1", "B": "router-4", "C": "router-6"}
NODES = {"A": "n1", "B": "n4", "C": "n4"}
WRONG = (world.Failure, ConnectionError, ValueError, KeyError, TypeError, AttributeError,
         *world.NO_ANSWER)

CONFIG = {
    "n1": """skip:
  listen: 127.0.0.1:0
  local_system_id: KP_A
  psk_file: {psk}
  encryptors:
    - {{sae: sae-1, psk_identity: router-1}}
  remote_systems:
    - {{system_id: KP_B, sae: sae-4}}
    - {{system_id: "KP_[!AB]*", sae: sae-6}}
  entropy_device: {entropy}
  entropy_pool_bytes: 64
""",
    "n4": """skip:
  listen: 127.0.0.1:0
  local_system_id: KP_B
  psk_file: {psk}
  encryptors:
    - {{sae: sae-4, psk_identity: router-4}}
    - {{sae: sae-6, psk_identity: router-6, local_system_id: KP_C6}}
  remote_systems:
    - {{system_id: KP_A, sae: sae-1}}
    - {{system_id: KP_X, sae: sae-2, encryptors: [sae-4]}}
""",
}


class Source:
    """A random number generator: it writes to a pipe, and remembers what."""

    def __init__(self, path):
        os.mkfifo(path, 0o600)
        self.path = path
        self.written = b""
        self.fd = os.open(path, os.O_RDWR)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        # A full pipe holds it up.
        with contextlib.suppress(OSError):
            while True:
                fresh = os.urandom(64)
                self.written += fresh
                os.write(self.fd, fresh)


class Faulty:
    """A client whose answers have a fault."""

    def __init__(self, client, fault):
        self.client, self.fault = client, fault

    def ask(self, *request):
        answer = self.client.ask(*request)
        self.fault(answer)
        return answer


class KeyProviders:
    """Clients of the network as the rows see it."""

    def __init__(self, test, fault=None):
        self.test, self.demo, self.fault = test, test.demo, fault
        self.a, self.b, self.c = (self.psk(end) for end in SAES)

    def _wrap(self, client):
        return client if self.fault is None else Faulty(client, self.fault)

    def psk(self, end, mode="TLS 1.3 PSK"):
        return self._wrap(self.test.psk(end, mode))

    def certificate(self, end, version=None):
        return self.certificate_of(SAES[end], end, version)

    def certificate_of(self, sae, end, version=None):
        return self._wrap(skip_client.Certificate(self.demo, self.test.ports[NODES[end]], sae,
                                                  version))

    def entropy_written(self):
        return self.test.source.written

    def until_entropy(self, target):
        return self._until(target, "entropy")

    def until_drawn(self):
        return self._until("/key?remoteSystemID=KP_B", "a key")

    def _until(self, target, what):
        """The pool fills by itself."""
        deadline = time.monotonic() + world.AGAIN_WITHIN_S
        while True:
            answer = self.a.ask(target)
            if answer.status != 503:
                expect(answer.status == 200, f"{target}: {answer.status} {answer.body}")
                return answer
            expect(time.monotonic() < deadline, f"no {what} after {world.AGAIN_WITHIN_S} s")
            time.sleep(0.1)


class Test:
    def __init__(self, options, demo):
        self.options, self.demo = options, demo
        self.keys = {end: os.urandom(48) for end in SAES}  # As routers in the field have them.
        self.old_keys = []
        self.source = Source(os.path.join(options.work, "generator"))
        self.ports = {}

    def psk_path(self, node):
        return os.path.join(self.options.work, f"psk-{node}")

    def write_psks(self, node, mode=0o600):
        lines = [f"{IDENTITIES[end]}:{self.keys[end].hex()}\n" for end in SAES
                 if NODES[end] == node]
        self.write_psk_text(node, "".join(["# identity:hex\n", *lines]), mode)

    def write_psk_text(self, node, text, mode=0o600):
        partial = self.psk_path(node) + ".partial"
        with open(partial, "w") as f:
            f.write(text)
        os.chmod(partial, mode)
        os.rename(partial, self.psk_path(node))

    def psk(self, end, mode="TLS 1.3 PSK"):
        return skip_client.Psk(self.options, self.ports[NODES[end]], IDENTITIES[end],
                               self.keys[end], mode)

    def config_path(self, node):
        return self.demo.processes[node]["argv"][-1]

    def log(self, node):
        with open(self.demo.processes[node]["log"], errors="replace") as f:
            return f.read()

    def wait_for_log(self, node, text):
        deadline = time.monotonic() + world.AGAIN_WITHIN_S
        while text not in self.log(node):
            expect(time.monotonic() < deadline, f"{node} never said {text!r}")
            time.sleep(0.05)

    def switch_on(self):
        for node, block in CONFIG.items():
            self.demo.kill(node)
            self.write_psks(node)
            with open(self.config_path(node), "a") as f:
                f.write(block.format(psk=self.psk_path(node), entropy=self.source.path))
            self.demo.restart(node)
        for node in CONFIG:
            self.ports[node] = skip_client.port_of(self.demo, node)
        world.wait_until_all_deliver(self.demo)


def listening_sockets(pid):
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
            if found:
                inodes.add(found.group(1))
    count = 0
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}") as f:
            rows = [line.split() for line in f.readlines()[1:]]
        count += sum(1 for r in rows if r[3] == "0A" and r[9] in inodes)
    return count


def check_off_by_default(test):
    """"Off by default"."""
    for node in test.demo.world["nodes"]:
        expect("skip" not in test.log(node["id"]), f"{node['id']} speaks of SKIP unasked")
        pid = test.demo.processes[node["id"]]["pid"]
        # REST, gRPC, Kx, Kq-1, metrics, admin and key streams.
        expect(listening_sockets(pid) == 7, f"{node['id']} listens at {listening_sockets(pid)}")


def check_rows(test):
    wrong = []
    for row in ROWS:
        for fault in (None, row.fault):
            try:
                row.check(KeyProviders(test, fault))
                why = None if fault is None else "holds although it was broken"
            except WRONG as error:
                why = f"{type(error).__name__}: {error}" if fault is None else None
            if why is not None:
                wrong.append(f"{row.text}: {why}")
    expect(not wrong, "\n".join(["", *wrong]))


def refused(client):
    try:
        answer = client.ask("/capabilities")
    except ConnectionError:
        return True
    raise world.Failure(f"it was let in: {answer}")


def check_wrong_keys(test):
    port = test.ports["n1"]
    for mode in ("TLS 1.2 DHE-PSK", "TLS 1.2 PSK", "TLS 1.3 PSK"):
        refused(skip_client.Psk(test.options, port, "router-1", os.urandom(48), mode))
        refused(skip_client.Psk(test.options, port, "stranger", test.keys["A"], mode))
        # Another node's key, and a key by another's name.
        refused(skip_client.Psk(test.options, port, "router-4", test.keys["B"], mode))
    test.wait_for_log("n1", 'pre-shared key identity "router-1", which is in '
                            f"{test.psk_path('n1')}: the client has another key")
    test.wait_for_log("n1", 'pre-shared key identity "stranger": expected one that is in')
    refused(skip_client.Psk(test.options, port, "router-1", test.keys["A"], "TLS 1.2 CBC"))
    expect(test.psk("A").ask("/capabilities").status == 200, "the right key is let in")


def check_reload(test):
    """"reload without restart"."""
    started = test.demo.processes["n1"]["pid"]
    old = test.psk("A")
    test.old_keys.append(test.keys["A"])
    test.keys["A"] = os.urandom(32)
    test.write_psks("n1")
    refused(old)
    KeyProviders(test).until_drawn()
    # A file that is open to others, or too short a key, leaves what was good in use.
    test.write_psks("n1", mode=0o644)
    expect(test.psk("A").ask("/capabilities").status == 200, "the last good keys stay")
    test.wait_for_log("n1", "open to others: chmod 600 it")
    test.write_psk_text("n1", "router-1:" + "5a" * 31 + "\n")
    expect(test.psk("A").ask("/capabilities").status == 200, "the last good keys stay")
    test.wait_for_log("n1", "expected a key of 32 to 256 bytes")
    test.write_psks("n1")
    expect(test.psk("A").ask("/capabilities").status == 200, "and a good file again")
    expect(test.demo.processes["n1"]["pid"] == started, "without a restart")
    test.demo.check_alive()


def check_start(test):
    """"PSK files 0600 ... PSK >= 256 bits": no start with others."""
    argv = [os.path.join(test.options.bin, "keyhopd"), "--check-config", "--config",
            test.config_path("n1")]

    def start():
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    expect(start()[0] == 0, f"the good configuration: {start()}")
    for text, mode, why in ((f"router-1:{'5a' * 32}\n", 0o640, "chmod 600 it"),
                            (f"router-1:{'5a' * 31}\n", 0o600, ":1: expected a key of 32 to 256")):
        test.write_psk_text("n1", text, mode)
        code, said = start()
        expect(code == 2 and f"skip.psk_file: {test.psk_path('n1')}" in said and why in said,
               f"{code} {said}")
        expect("5a5a" not in said, "a key in an error")
    test.write_psks("n1")


def check_secrets(test, keys):
    secrets = [base64.b64encode(k).decode() for k in [*test.keys.values(), *test.old_keys, *keys]]
    searches.keep_what_operators_hear(test.demo)
    clean, said = searches.search(test.options, [test.demo.run_dir], secrets)
    expect(clean, said)
    searches.check_the_search(test.options, secrets[0])


def some_keys(test):
    """Delivered over SKIP, some of them fetched."""
    keys = []
    a, b = test.psk("A"), test.psk("B")
    for number in range(20):
        answer = a.ask("/key?remoteSystemID=KP_B")
        if answer.status != 200:
            continue
        keys.append(bytes.fromhex(answer.body["key"]))
        if number % 2:
            b.ask(f"/key/{answer.body['keyId']}?remoteSystemID=KP_A")
    expect(len(keys) >= 10, f"only {len(keys)} of 20 draws")
    return keys


def check_metrics(test):
    node = test.demo.node("n1")
    found = re.search(r"skip_handshakes_failed\S* (\d+)", world.metrics(test.demo, node))
    expect(found and int(found.group(1)) >= 9, f"failed handshakes in metrics: {found}")


def test():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        run = Test(options, demo)
        check_off_by_default(run)
        run.switch_on()
        check_rows(run)
        check_wrong_keys(run)
        check_reload(run)
        check_metrics(run)
        check_secrets(run, some_keys(run))
        check_start(run)
        demo.check_alive()
        print(f"{len(ROWS)} rows hold, and none with its fault")


world.main(test)
