"""Starts the demo network, checks it as a user would, and stays until it is told to end."""
import argparse
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time

import network

READY_WITHIN_S = 120
KEYS_AT_HAND = 200
END_WITHIN_S = 20


class Ended(Exception):
    pass


def on_signal(number, _frame):
    raise Ended(signal.Signals(number).name)


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().split(b"\0")
    except OSError:
        return []


def pids_of(configs):
    """Our programs that run one of our configurations, whoever started them."""
    wanted = {c.encode() for c in configs}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        words = command_line(name)
        if wanted & set(words) and os.path.basename(words[0]) in (b"keyhopd", b"keyhop-qkdsim"):
            yield int(name)


def reap():
    """The pids that ended, with their exit status."""
    ended = {}
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return ended
            ended[pid] = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return ended


def nothing_ended(world):
    """Until demo.json appears nobody may kill our processes: one that ended has failed."""
    ended = reap()
    for process in world["processes"]:
        if process["pid"] in ended:
            with open(process["log"], encoding="utf-8", errors="replace") as f:
                last = (f.readlines() or ["its log is empty\n"])[-1]
            raise SystemExit(f"\ndemo: {process['name']} ended ({ended[process['pid']]}): "
                             f"{last.strip()}")


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def end_all(configs):
    deadline = time.monotonic() + END_WITHIN_S
    send(pids_of(configs), signal.SIGTERM)
    while True:
        reap()
        left = list(pids_of(configs))
        if not left:
            return
        # Whoever does not end in time, or came after, is ended the hard way.
        late = time.monotonic() > deadline - END_WITHIN_S / 2
        send(left, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.1)


def start(run_dir, name, argv):
    log = os.path.join(run_dir, "logs", f"{name}.log")
    with open(log, "ab") as out:
        child = subprocess.Popen(argv, cwd=run_dir, stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=out, env=child_environment(), start_new_session=True)
    return {"name": name, "pid": child.pid, "argv": argv, "cwd": run_dir,
            "env": child_environment(), "log": log}


def child_environment():
    return {name: os.environ[name]
            for name in ("PATH", "HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
            if name in os.environ}


class Rest:
    """One SAE's requests to its home node."""

    def __init__(self, world, sae):
        self.address = next(n for n in world["nodes"] if n["id"] == sae["node"])["rest"]
        self.context = ssl.create_default_context(cafile=world["ca"])
        self.context.load_cert_chain(sae["cert"], sae["key"])

    def get(self, path):
        host, port = self.address.split(":")
        connection = http.client.HTTPSConnection(host, int(port), context=self.context, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()


def wait_until_ready(world, show):
    """Every ordered pair of SAEs has enough keys at hand."""
    deadline = time.monotonic() + READY_WITHIN_S
    pairs = [(m, s) for m in world["saes"] for s in world["saes"] if m is not s]
    rest = {sae["id"]: Rest(world, sae) for sae in world["saes"]}
    waiting = pairs
    while waiting:
        nothing_ended(world)
        still = []
        for master, slave in waiting:
            try:
                status, body = rest[master["id"]].get(f"/api/v1/keys/{slave['id']}/status")
                enough = status == 200 and body["stored_key_count"] >= KEYS_AT_HAND
            except (OSError, ssl.SSLError, http.client.HTTPException, ValueError):
                enough = False
            if not enough:
                still.append((master, slave))
        waiting = still
        show(f"pairs ready: {len(pairs) - len(waiting)} of {len(pairs)}")
        if waiting:
            if time.monotonic() > deadline:
                lacking = ", ".join(f"{m['id']}>{s['id']}" for m, s in waiting[:5])
                raise SystemExit(f"\ndemo: after {READY_WITHIN_S} s these pairs lack keys: "
                                 f"{lacking}; the logs are in logs/")
            time.sleep(0.2)


def curl_draw(world, master, slave):
    address = next(n for n in world["nodes"] if n["id"] == master["node"])["rest"]
    argv = ["curl", "-sS", "--fail-with-body", "--max-time", "10", "--cacert", world["ca"],
            "--cert", master["cert"], "--key", master["key"],
            f"https://{address}/api/v1/keys/{slave['id']}/enc_keys"]
    return run(argv)


def cli(world, bin_dir, node, listener, cert, key, *words):
    address = next(n for n in world["nodes"] if n["id"] == node)[listener]
    return run([os.path.join(bin_dir, "keyhop"), "--node", address, "--ca", world["ca"], "--cert",
                cert, "--key", key, "--json", *words])


def run(argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise SystemExit(f"demo: {argv[0]} failed ({done.returncode}): "
                         f"{done.stdout.strip()} {done.stderr.strip()}")
    return json.loads(done.stdout)


def path_taken(world, bin_dir, source, destination):
    operator = world["operator"]
    pools = cli(world, bin_dir, source, "admin", operator["cert"], operator["key"], "pools")
    for pool in pools.get("pools", []):
        if pool.get("destination") == destination:
            return pool.get("last_path", [])
    return []


def check(world, bin_dir, master, slave):
    """Draws with curl over REST, fetches with the gRPC command line; True if they match."""
    drawn = curl_draw(world, master, slave)["keys"][0]
    fetched = cli(world, bin_dir, slave["node"], "grpc", slave["cert"], slave["key"], "key",
                  "fetch", master["id"], drawn["key_ID"])["keys"][0]
    path = path_taken(world, bin_dir, master["node"], slave["node"])
    matched = drawn["key"] == fetched["key"] and drawn["key_ID"] == fetched["key_ID"]
    print(f"{master['id']} at {master['node']} drew    (REST, curl)   {drawn['key_ID']}  "
          f"{drawn['key']}")
    print(f"{slave['id']} at {slave['node']} fetched (gRPC, keyhop) {fetched['key_ID']}  "
          f"{fetched['key']}")
    print(f"  path {' > '.join(path)}: {'the keys match' if matched else 'THE KEYS DIFFER'}\n")
    return matched and len(path) >= 3


def progress(text):
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--run-dir", required=True)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)

    run_dir = os.path.abspath(options.run_dir)  # Locked by demo.sh, as long as this process lives.
    os.umask(0o077)
    os.makedirs(os.path.join(run_dir, "logs"), exist_ok=True)
    world_file = os.path.join(run_dir, "demo.json")
    configs = []
    code = 1
    try:
        ports = network.choose_ports(network.DEMO, run_dir)
        network.make_certificates(network.DEMO, options.root, run_dir)
        plan = network.plan(network.DEMO, run_dir, options.bin, ports)
        configs = [argv[-1] for _, argv in plan]
        end_all(configs)  # What an earlier demo, killed hard, left behind.
        processes = [start(run_dir, name, argv) for name, argv in plan]
        world = network.describe(network.DEMO, run_dir, ports, processes)
        wait_until_ready(world, progress)
        progress("")
        saes = {sae["id"]: sae for sae in world["saes"]}
        print(f"{len(network.DEMO.nodes)} key managers, {len(network.DEMO.links)} QKD links, "
              f"{len(saes)} applications.\n")
        good = check(world, options.bin, saes["sae-1"], saes["sae-4"])
        good &= check(world, options.bin, saes["sae-4"], saes["sae-1"])
        # From here on others may kill what they like; the check above is not theirs to break.
        wait_until_ready(world, progress)
        progress("")
        network.write_file(world_file, json.dumps(world, indent=1))
        code = 0 if good else 1
        if not options.once:
            print(f"{world_file} says where all is. The network stays up; Ctrl-C ends it. "
                  "For example:")
            a, n = saes["sae-1"], world["nodes"][0]
            print(f"  {options.bin}/keyhop --node {n['grpc']} --ca {world['ca']} --cert "
                  f"{a['cert']} --key {a['key']} key get sae-3", flush=True)
            while True:
                reap()
                time.sleep(0.5)
    except Ended as end:
        code = 1 if options.once else 0
        print(f"\nended by {end}")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if not options.once and os.path.exists(world_file):
            os.unlink(world_file)
        end_all(configs)
    return code


if __name__ == "__main__":
    sys.exit(main())
