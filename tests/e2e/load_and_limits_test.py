"""What the demo network promises under load, and what its listeners stand.

Every ordered pair is refilled at 50 keys a second at least; silent connections lock nobody out; a
process that ran out of descriptors serves again once it has some; certificates of another kind, out
of their time or of another CA get nothing on the inner interfaces.
"""
import os
import re
import resource
import socket
import subprocess
import threading
import time

import certificates
import world

KEYS_A_SECOND = 50
KEYS_A_REQUEST = 5
LOAD_S = 15
SILENT = 2000


def draw_all_the_time(demo, master, slave, rate, failures):
    """`rate` keys a second for LOAD_S seconds, at times that a late answer does not move."""
    client = world.Rest(demo, master)
    started = time.monotonic()
    for i in range(LOAD_S * rate // KEYS_A_REQUEST):
        time.sleep(max(0.0, started + i * KEYS_A_REQUEST / rate - time.monotonic()))
        try:
            status, body = client.draw(slave, number=KEYS_A_REQUEST)
        except world.NO_ANSWER as error:
            status, body = None, error
        if status != 200:
            failures.append(f"{master} > {slave}: {status} {body}")
            return


def check_refill(demo, rate):
    failures = []
    threads = [threading.Thread(target=draw_all_the_time, args=(demo, m, s, rate, failures))
               for m, s in demo.pairs()]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - started
    world.expect(not failures, f"{len(failures)} pairs fell short, first {failures[:1]}")
    deadline = time.monotonic() + 20
    for master, slave in demo.pairs():
        client = world.Rest(demo, master)
        while client.status(slave)[1]["stored_key_count"] < 200:
            world.expect(time.monotonic() < deadline, f"{master} > {slave} is not refilled")
            time.sleep(0.1)
    print(f"{len(threads)} pairs drew {rate} keys/s each for {took:.1f} s and are full again")


def silent_sockets(address, count):
    host, port = address.rsplit(":", 1)
    sockets = []
    for _ in range(count):
        s = socket.socket()
        s.settimeout(5)
        try:
            s.connect((host, int(port)))
        except OSError:
            s.close()
            continue
        sockets.append(s)
    return sockets


def keyhop(demo, address, files, *words):
    done = subprocess.run(
        [os.path.join(demo.options.bin, "keyhop"), "--node", address, "--ca", demo.world["ca"],
         "--cert", files[0], "--key", files[1], "--json", *words],
        capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def both(holder):
    return holder["cert"], holder["key"]


def check_served(demo, node, what):
    """An SAE and an operator get through."""
    sae = next(s for s in demo.world["saes"] if s["node"] == node["id"])
    other = next(s for s in demo.world["saes"] if s["node"] != node["id"])
    code, said = keyhop(demo, node["grpc"], both(sae), "key", "get", other["id"])
    world.expect(code == 0, f"{what}: draw over gRPC: {code} {said}")
    code, said = keyhop(demo, node["grpc"], both(demo.world["operator"]), "links")
    world.expect(code == 0, f"{what}: links: {code} {said}")
    status, body = world.Rest(demo, sae["id"]).draw(other["id"])
    world.expect(status == 200, f"{what}: draw over REST: {status} {body}")


def check_silent_clients(demo):
    node = demo.node("n1")
    for listener in ("grpc", "kx", "admin", "rest"):
        sockets = silent_sockets(node[listener], SILENT)
        world.expect(len(sockets) > SILENT // 2, f"{listener}: {len(sockets)} connections")
        check_served(demo, node, f"{len(sockets)} silent connections at {listener}")
        for s in sockets:
            s.close()


def check_out_of_descriptors(demo):
    node, pid = demo.node("n1"), demo.processes["n1"]["pid"]
    used = len(os.listdir(f"/proc/{pid}/fd"))
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 40, before[1]))
    for listener in ("grpc", "kx", "kq1", "admin", "rest", "metrics"):
        address = re.sub("^https://|/metrics$", "", node[listener])
        for s in silent_sockets(address, 200):
            s.close()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    deadline = time.monotonic() + 30
    while True:
        try:
            check_served(demo, node, "after a want of descriptors")
            break
        except (world.Failure, *world.NO_ANSWER):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    demo.check_alive()
    # A neighbour that has to connect anew finds Kx open.
    demo.kill("n2")
    demo.restart("n2")
    world.wait_until_all_deliver(demo)


def check_inner_certificates(demo, folder):
    node, sae = demo.node("n1"), demo.sae("sae-1")
    module = os.path.join(demo.run_dir, "pki", "modules", "qkd-n1-n2", "module")
    kinds = {"an SAE": both(sae), "a node": both(demo.node("n2")),
             "an operator": both(demo.world["operator"]),
             "a module": (f"{module}.crt", f"{module}.key")}
    mine = {"kx": "a node", "kq1": "a module", "admin": "an operator"}
    bad = certificates.make_bad(demo, folder)
    method = {"kx": "/keyhop.kx.v1.Kx/Exchange", "kq1": "/keyhop.kq1.v1.KeyManagerQ/Attach",
              "admin": "/keyhop.admin.v1.Admin/GetStatus"}
    for listener, good in mine.items():
        strangers = {k: v for k, v in kinds.items() if k != good}
        strangers |= bad[good]
        for name, files in strangers.items():
            code, answer = certificates.grpc_call(demo.world, node[listener], method[listener],
                                                  files, b"\0\0\0\0\0")
            world.expect(code != 0 and "grpc-status" not in answer,
                         f"{name} at {listener}: {code} {answer}")
    # At the address that SAEs and operators share each is served as what it is only.
    code, said = keyhop(demo, node["grpc"], both(sae), "links")
    world.expect(code == 3, f"an SAE asks for links: {code} {said}")
    code, said = keyhop(demo, node["grpc"], both(demo.world["operator"]), "key", "get", "sae-4")
    world.expect(code == 3, f"an operator draws a key: {code} {said}")


def test():
    options = world.parse_arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        # The sanitizers' programs are slower than the promise, which is of release.
        check_refill(demo, KEYS_A_SECOND if options.preset == "release" else KEYS_A_REQUEST)
        check_inner_certificates(demo, os.path.join(options.work, "bad"))
        check_silent_clients(demo)
        check_out_of_descriptors(demo)
        demo.check_alive()


world.main(test)
