"""What an operator says and sets: links out of use, the store key, files, and who is in the way."""
import glob
import os
import signal
import stat
import subprocess
import threading
import time

import certificates
import world

LINK = "n1-n2"
SERVICES = ("keyhop.delivery.v1.KeyDelivery", "keyhop.admin.v1.Admin")


class Operator(world.Operator):
    def link(self, node):
        return next(link for link in self.ask(node, "links")["links"] if link["id"] == LINK)


def check_modes(demo):
    """Everything secret that our scripts make is closed to others."""
    pki = os.path.join(demo.run_dir, "pki")
    secrets = [path for path in glob.glob(f"{pki}/**", recursive=True)
               if path.endswith(".key") or os.path.basename(path) == "kek"]
    world.expect(len(secrets) > 20, f"only {len(secrets)} secrets found in {pki}")
    for path in secrets:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        world.expect(mode == 0o600, f"{path} has mode {mode:04o}")


def check_link_down(demo, operator):
    operator.ask("n1", "link", "down", LINK)
    operator.wait_until("the other end hears of it", lambda: not operator.link("n2")["up"])
    world.expect(operator.link("n2")["admin_up"], "n2's own operator said nothing")
    demo.kill("n1")
    demo.restart("n1")
    operator.wait_until_up("n1")
    link = operator.link("n1")
    world.expect(not link["admin_up"] and not link["up"], f"after a restart: {link}")
    world.wait_until_all_deliver(demo)
    for pool in operator.ask("n1", "pools")["pools"]:
        world.expect(pool["last_path"][:2] != ["n1", "n2"], f"a path over {LINK}: {pool}")
    unknown = operator.run("n1", "link", "down", "nowhere")
    world.expect(unknown.returncode == 3, f"an unknown link: {unknown.returncode}")
    operator.ask("n1", "link", "up", LINK)
    for node in ("n1", "n2"):
        operator.wait_until(f"{LINK} is up at {node}", lambda: operator.link(node)["up"])
    demo.kill("n1")
    demo.restart("n1")
    operator.wait_until_up("n1")
    world.expect(operator.link("n1")["admin_up"], "up did not survive a restart")
    world.wait_until_all_deliver(demo)


def check_rotation(demo, operator):
    """The store key is replaced while keys are drawn at the same node."""
    folder = os.path.join(demo.run_dir, "state", "n1")

    def key_file():
        names = glob.glob(os.path.join(folder, "store-key.*"))
        world.expect(len(names) == 1, f"store key files: {names}")
        with open(names[0], "rb") as f:
            return f.read()

    stop, wrong, count = threading.Event(), [], [0]

    def draw():
        clients = {sae: world.Rest(demo, sae) for sae in ("sae-1", "sae-2")}
        while not stop.is_set():
            why = world.draw_and_fetch(clients, "sae-2", "sae-1")
            count[0] += why is None
            # An empty pool is no fault of the rotation.
            if why is not None and "503" not in why:
                wrong.append(why)

    drawer = threading.Thread(target=draw)
    drawer.start()
    numbers, files = [], [key_file()]
    for _ in range(10):
        numbers.append(operator.ask("n1", "store", "rotate-key")["store_key_number"])
        files.append(key_file())
    stop.set()
    drawer.join()
    world.expect(not wrong, f"draws during rotations: {wrong[:3]}")
    world.expect(count[0] > 0, "nothing was drawn during the rotations")
    world.expect(numbers == list(range(numbers[0], numbers[0] + 10)), f"numbers: {numbers}")
    world.expect(len(set(files)) == 11, "a rotation left the store key file as it was")
    demo.kill("n1")
    demo.restart("n1")
    operator.wait_until_up("n1")
    world.wait_until_all_deliver(demo)
    return count[0]


def start_by_hand(demo, path):
    """(exit code, what it said, seconds) of a keyhopd that cannot start."""
    started = time.monotonic()
    done = subprocess.run([os.path.join(demo.options.bin, "keyhopd"), "--config", path],
                          capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr, time.monotonic() - started


def check_who_is_in_the_way(demo):
    path = demo.processes["n1"]["argv"][2]
    pid = demo.processes["n1"]["pid"]
    code, said, seconds = start_by_hand(demo, path)
    world.expect(code == 1 and f"process {pid} (keyhopd)" in said, f"store lock: {code} {said}")
    world.expect(9 < seconds < 30, f"the store's lock was tried for {seconds:.1f} s, not 10")
    # With a store of its own it meets the ports.
    with open(path) as f:
        text = f.read()
    beside = os.path.join(demo.options.work, "beside.yaml")
    with open(beside, "w") as f:
        f.write(text.replace(f"state_dir: {demo.run_dir}/state/n1",
                             f"state_dir: {demo.options.work}/beside\n  start_retry_window: 1s"))
    code, said, seconds = start_by_hand(demo, beside)
    world.expect(code == 1 and f"held by process {pid} (keyhopd)" in said, f"port: {code} {said}")
    world.expect(1 <= seconds < 20, f"the port was tried for {seconds:.1f} s, not 1")


def check_open_secret(demo, operator):
    pki = os.path.join(demo.run_dir, "pki")
    path = demo.processes["n1"]["argv"][2]
    demo.kill("n1")
    for secret in (f"{pki}/nodes/n1/kek", f"{pki}/nodes/n1/node.key", f"{pki}/links/{LINK}.key"):
        os.chmod(secret, 0o644)
        code, said, _ = start_by_hand(demo, path)
        world.expect(code == 2 and secret in said and "chmod 600" in said, f"{code} {said}")
        os.chmod(secret, 0o600)
    demo.restart("n1")
    operator.wait_until_up("n1")
    world.wait_until_all_deliver(demo)


def check_health_and_reflection(demo, folder):
    """What tools that know no service of ours ask first; SAEs and operators alike."""
    sae, who = demo.sae("sae-1"), demo.world["operator"]
    kept = os.path.join(folder, "answer")

    def call(method, files, message):
        body = b"\0" + len(message).to_bytes(4, "big") + message
        code, head = certificates.grpc_call(demo.world, demo.node("n1")["grpc"], method, files, body,
                                            kept=kept)
        with open(kept, "rb") as f:
            return code, head, f.read()

    for files in ((sae["cert"], sae["key"]), (who["cert"], who["key"])):
        for service in SERVICES:
            name = service.encode()
            code, head, body = call("/grpc.health.v1.Health/Check", files,
                                    b"\x0a" + bytes([len(name)]) + name)
            world.expect(code == 0 and "grpc-status: 0" in head and body == b"\0\0\0\0\2\x08\1",
                         f"health of {service}: {head} {body}")
        _, head, _ = call("/grpc.health.v1.Health/Check", files, b"\x0a\1x")
        world.expect("grpc-status: 5" in head, f"health of a service that is not there: {head}")
        code, head, body = call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                files, b"\x3a\0")
        world.expect(code == 0 and "grpc-status: 0" in head, f"reflection: {head}")
        for service in SERVICES:
            world.expect(service.encode() in body, f"reflection does not list {service}: {body}")
        symbol = SERVICES[0].encode()
        _, _, body = call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", files,
                          b"\x22" + bytes([len(symbol)]) + symbol)
        world.expect(b"GetKeyWithKeyIds" in body, f"reflection of {SERVICES[0]}: {body[:300]}")


def check_revocation(demo, folder):
    """A CRL in the trust store shuts both fronts to the certificate that it names, and no other."""
    bad, good = demo.sae("sae-6"), demo.sae("sae-4")
    world.expect(bad["node"] == good["node"], "the two have one home")
    node = demo.node(bad["node"])

    def grpc_lets_in(sae):
        code, answer = certificates.grpc_call(
            demo.world, node["grpc"], "/keyhop.delivery.v1.KeyDelivery/GetStatus",
            (sae["cert"], sae["key"]), b"\0\0\0\0\7\x0a\5sae-1")
        return code == 0 and "grpc-status: 0" in answer

    def rest_lets_in(sae):
        try:
            return world.Rest(demo, sae["id"]).status("sae-1")[0] == 200
        except world.NO_ANSWER:
            return False

    for lets_in in (grpc_lets_in, rest_lets_in):
        world.expect(lets_in(bad) and lets_in(good), "both are let in before")
    certificates.revoke(demo, os.path.join(folder, "revoked"), bad["cert"])
    demo.signal(node["id"], signal.SIGHUP)
    for lets_in in (grpc_lets_in, rest_lets_in):
        deadline = time.monotonic() + world.AGAIN_WITHIN_S
        while lets_in(bad):
            world.expect(time.monotonic() < deadline, f"{lets_in.__name__}: still let in")
            time.sleep(0.1)
        world.expect(lets_in(good), f"{lets_in.__name__}: the other SAE is shut out")
    with open(demo.processes[node["id"]]["log"], errors="replace") as f:
        world.expect("serialNumber: revoked" in f.read(), "the log does not say why")


def test():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        operator = Operator(demo)
        check_modes(demo)
        check_health_and_reflection(demo, options.work)
        check_link_down(demo, operator)
        drawn = check_rotation(demo, operator)
        check_who_is_in_the_way(demo)
        check_open_secret(demo, operator)
        check_revocation(demo, options.work)
        print(f"{drawn} keys during 10 rotations of the store key")


world.main(test)
