"""What the end-to-end tests share: a demo network of their own, and clients of it."""
import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
UP_WITHIN_S = 240
DOWN_WITHIN_S = 30
AGAIN_WITHIN_S = 60
# A recovery over this is worth a look.
SLOW_S = 10


class Failure(Exception):
    """What a test found; its text says what was expected."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def parse_arguments(extra=lambda parser: None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="release")
    parser.add_argument("--bin", help="folder of the programs (default: build/PRESET/bin)")
    parser.add_argument("--work", help="folder that the test may empty and write to")
    extra(parser)
    options = parser.parse_args()
    test = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    options.bin = os.path.abspath(options.bin or f"{ROOT}/build/{options.preset}/bin")
    options.work = os.path.abspath(options.work or f"{ROOT}/build/{options.preset}/e2e/{test}")
    shutil.rmtree(options.work, ignore_errors=True)
    os.makedirs(options.work)
    return options


def main(test):
    """Runs `test`; a Failure is told in one line."""
    try:
        test()
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr, flush=True)
        sys.exit(1)
    print("passed")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def tail(path, lines=15):
    try:
        with open(path, errors="replace") as f:
            return "".join(f.readlines()[-lines:])
    except OSError:
        return ""


class Demo:
    """A demo network, its processes, and what this test restarted.

    `by_script`: by deploy/demo.sh, which builds first; else with the programs as they are.
    """

    def __init__(self, options, name="demo", arguments=(), by_script=False):
        self.options = options
        self.run_dir = os.path.join(options.work, name)
        self.output_path = os.path.join(options.work, f"{name}.out")
        deploy = os.path.join(ROOT, "deploy")
        if by_script:
            self.argv = [f"{deploy}/demo.sh", "--preset", options.preset]
        else:
            self.argv = [sys.executable, "-B", f"{deploy}/demo/run.py", "--root", ROOT, "--bin",
                         options.bin]
        self.argv += ["--run-dir", self.run_dir, *arguments]
        self.script = None
        self.world = None
        self._lock = threading.Lock()
        self._started_here = {}

    def start(self):
        with open(self.output_path, "wb") as out:
            self.script = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True)
        return self

    def wait_until_up(self):
        deadline = time.monotonic() + UP_WITHIN_S
        path = os.path.join(self.run_dir, "demo.json")
        while not os.path.exists(path):
            expect(self.script.poll() is None,
                   f"the demo ended by itself: {tail(self.output_path)}")
            expect(time.monotonic() < deadline,
                   f"no demo.json after {UP_WITHIN_S} s: {tail(self.output_path)}")
            time.sleep(0.1)
        with open(path) as f:
            self.world = json.load(f)
        self.processes = {p["name"]: dict(p) for p in self.world["processes"]}
        return self

    def stop(self):
        """SIGTERM to the script's own pid ends everything in time."""
        if self.script is None:
            return
        started = time.monotonic()
        if self.script.poll() is None:
            self.script.send_signal(signal.SIGTERM)
        # Ours are its strangers: it ends them, we bury them.
        while self.script.poll() is None and time.monotonic() < started + DOWN_WITHIN_S:
            self.reap()
            time.sleep(0.05)
        ended = self.script.poll() is not None
        self.reap()
        left = self.pids_running()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not ended:
            self.script.kill()
            self.script.wait()
        self.script = None
        expect(ended, f"the demo did not end within {DOWN_WITHIN_S} s of SIGTERM")
        expect(not left, f"the demo left processes behind: {left}")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.stop()
        except Failure:
            if kind is None:
                raise

    def reap(self):
        with self._lock:
            for child in self._started_here.values():
                child.poll()

    def pids_running(self):
        """Whoever runs one of our configurations."""
        mark = os.fsencode(self.run_dir) + b"/"
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or not alive(int(name)):
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if len(words) >= 3 and words[1] == b"--config" and words[2].startswith(mark):
                found.append(int(name))
        return found

    def signal(self, name, number):
        os.kill(self.processes[name]["pid"], number)

    def kill(self, name):
        pid = self.processes[name]["pid"]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.005)
        self.reap()

    def restart(self, name):
        process = self.processes[name]
        with open(process["log"], "ab") as log:
            child = subprocess.Popen(process["argv"], cwd=process["cwd"], env=process["env"],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)
        with self._lock:
            self._started_here[child.pid] = child
        process["pid"] = child.pid

    def check_alive(self):
        for name, process in self.processes.items():
            expect(alive(process["pid"]), f"{name} died by itself: {tail(process['log'])}")

    def sae(self, sae_id):
        return next(s for s in self.world["saes"] if s["id"] == sae_id)

    def node(self, node_id):
        return next(n for n in self.world["nodes"] if n["id"] == node_id)

    def pairs(self):
        """All ordered pairs of SAEs."""
        ids = [s["id"] for s in self.world["saes"]]
        return [(m, s) for m in ids for s in ids if m != s]


NO_ANSWER = (OSError, ssl.SSLError, http.client.HTTPException)


class Rest:
    """One SAE at its home node over one connection, made anew when it broke. For one thread."""

    def __init__(self, demo, sae_id, timeout=10, cert=None):
        sae = demo.sae(sae_id)
        self.host, port = demo.node(sae["node"])["rest"].split(":")
        self.port = int(port)
        self.timeout = timeout
        self.context = ssl.create_default_context(cafile=demo.world["ca"])
        self.context.load_cert_chain(*(cert or (sae["cert"], sae["key"])))
        self.connection = None
        self.headers = None  # Of the last answer.

    def ask(self, method, path, body=None, more_headers=()):
        """(status, parsed body); raises one of NO_ANSWER when none came."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(
                    self.host, self.port, context=self.context, timeout=self.timeout)
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            headers = {} if data is None else {"Content-Type": "application/json"}
            headers.update(more_headers)
            self.connection.request(method, path, data, headers)
            answer = self.connection.getresponse()
            self.headers = answer.headers
            content = answer.read()
        except NO_ANSWER:
            self.close()
            raise
        try:
            return answer.status, json.loads(content or b"{}")
        except ValueError:
            raise Failure(f"{method} {path}: status {answer.status} with a body that is no JSON")

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def status(self, slave):
        return self.ask("GET", f"/api/v1/keys/{slave}/status")

    def draw(self, slave, **options):
        return self.ask("POST", f"/api/v1/keys/{slave}/enc_keys", options)

    def fetch(self, master, key_ids):
        return self.ask("POST", f"/api/v1/keys/{master}/dec_keys",
                        {"key_IDs": [{"key_ID": k} for k in key_ids]})


class Cli:
    """The same over gRPC, by the command line client; statuses are told as REST tells them."""

    def __init__(self, demo, sae_id):
        sae = demo.sae(sae_id)
        self.argv = [os.path.join(demo.options.bin, "keyhop"), "--node",
                     demo.node(sae["node"])["grpc"], "--ca", demo.world["ca"], "--cert",
                     sae["cert"], "--key", sae["key"], "--json", "key"]

    def ask(self, *words):
        done = subprocess.run([*self.argv, *words], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return 200, json.loads(done.stdout)
        if done.returncode == 3:
            return 400, json.loads(done.stdout)
        # A node that refuses for now says when to come back; else the connection broke.
        if done.returncode == 4 and "Try again in" in done.stderr:
            return 503, json.loads(done.stdout)
        if done.returncode in (4, 5):
            raise ConnectionError(done.stderr)
        raise Failure(f"{' '.join(words[:2])}: exit {done.returncode}: {done.stderr}")

    def draw(self, slave, number=1, additional=()):
        more = [word for sae in additional for word in ("--additional", sae)]
        return self.ask("get", slave, "--number", str(number), *more)

    def fetch(self, master, key_ids):
        return self.ask("fetch", master, *key_ids)


class Operator:
    """The command line client with an operator's certificate."""

    def __init__(self, demo):
        self.demo = demo

    def run(self, node, *words):
        who = self.demo.world["operator"]
        return subprocess.run(
            [os.path.join(self.demo.options.bin, "keyhop"), "--node",
             self.demo.node(node)["admin"], "--ca", self.demo.world["ca"], "--cert", who["cert"],
             "--key", who["key"], *words], capture_output=True, text=True, timeout=60)

    def ask(self, node, *words):
        done = self.run(node, "--json", *words)
        expect(done.returncode == 0, f"{words} at {node}: {done.stderr}")
        return json.loads(done.stdout)

    def wait_until(self, what, condition):
        deadline = time.monotonic() + AGAIN_WITHIN_S
        while not condition():
            expect(time.monotonic() < deadline, f"not within time: {what}")
            time.sleep(0.1)

    def wait_until_up(self, node):
        self.wait_until(f"{node} answers", lambda: self.run(node, "status").returncode == 0)


def metrics(demo, node):
    """The text of a node's metrics, as an operator reads it."""
    operator = demo.world["operator"]
    done = subprocess.run(["curl", "-sS", "--fail", "--max-time", "10", "--cacert",
                           demo.world["ca"], "--cert", operator["cert"], "--key", operator["key"],
                           node["metrics"]], capture_output=True, text=True)
    expect(done.returncode == 0, f"metrics of {node['id']}: {done.stderr}")
    expect("# TYPE" in done.stdout, f"metrics of {node['id']}: {done.stdout[:200]}")
    return done.stdout


def keys_of(body):
    return {k["key_ID"]: k["key"] for k in body["keys"]}


def draw_and_fetch(clients, master, slave):
    """None if the pair delivers the same key at both ends, else why not."""
    try:
        status, drawn = clients[master].draw(slave)
        if status != 200:
            return f"draw: {status} {drawn}"
        keys = keys_of(drawn)
        status, fetched = clients[slave].fetch(master, list(keys))
        if status != 200:
            return f"fetch: {status} {fetched}"
    except NO_ANSWER as error:
        return f"no answer: {error}"
    expect(keys == keys_of(fetched), f"{master} and {slave} got different keys")
    return None


def tell_state(demo):
    """Prints what each node says of its links and streams: where a wait comes from."""
    operator = Operator(demo)
    for node in demo.world["nodes"]:
        for what in ("nodes", "links", "pools"):
            print(operator.run(node["id"], what).stdout, flush=True)


def wait_until_all_deliver(demo, within=AGAIN_WITHIN_S):
    """Seconds until every ordered pair has delivered once more."""
    started = time.monotonic()
    clients = {sae["id"]: Rest(demo, sae["id"]) for sae in demo.world["saes"]}
    waiting = demo.pairs()
    told = False
    while waiting:
        # Every pair is asked once more after its time is over before it is said to be stuck.
        late = time.monotonic() > started + within
        still, why = [], ""
        for master, slave in waiting:
            reason = draw_and_fetch(clients, master, slave)
            if reason is not None:
                still.append((master, slave))
                why = f"{master} > {slave}: {reason}"
        waiting = still
        demo.check_alive()
        if waiting:
            expect(not late, f"after {within} s {len(waiting)} pairs do not deliver: "
                             f"{waiting[:6]}; {why}")
            if not told and time.monotonic() > started + SLOW_S:
                told = True
                print(f"after {SLOW_S} s {waiting[:6]} do not deliver: {why}")
                tell_state(demo)
            time.sleep(0.2)
    return time.monotonic() - started
