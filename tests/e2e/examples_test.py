"""The worked examples of docs/examples, run as their users would run them, against a demo network.

In each tunnel traffic flows after three rotations, a wrong key stops it, and the next one of QKD
brings it back. What an example needs and this machine lacks fails the test.
"""
import base64
import contextlib
import os
import re
import secrets
import subprocess
import tempfile

import tunnels
import world

# Debian's own: python3-grpcio is a package for it, and another Python may come first in PATH.
PYTHON = "/usr/bin/python3"
EXAMPLES = os.path.join(world.ROOT, "docs", "examples")
ROUNDS = 3
MASTER, SLAVE = "sae-1", "sae-4"


def access(demo, sae_id):
    sae = demo.sae(sae_id)
    return {"ca": demo.world["ca"], "cert": sae["cert"], "key": sae["key"],
            **{listener: demo.node(sae["node"])[listener] for listener in ("rest", "grpc")}}


def run_curl(demo):
    master, slave = access(demo, MASTER), access(demo, SLAVE)
    done = subprocess.run(
        [f"{EXAMPLES}/curl/draw_and_fetch.sh"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "CA": master["ca"], "MASTER": MASTER, "SLAVE": SLAVE,
             "MASTER_NODE": master["rest"], "MASTER_CERT": master["cert"],
             "MASTER_KEY": master["key"], "SLAVE_NODE": slave["rest"],
             "SLAVE_CERT": slave["cert"], "SLAVE_KEY": slave["key"]})
    world.expect(done.returncode == 0 and "hold the same key" in done.stdout,
                 f"curl: {done.stdout} {done.stderr}")


def run_python(demo, work):
    stubs = os.path.join(work, "stubs")
    os.makedirs(stubs)
    plugin = subprocess.run(["which", "grpc_python_plugin"], capture_output=True, text=True).stdout
    tunnels.run("protoc", "-I", f"{world.ROOT}/proto", f"--python_out={stubs}",
                f"--grpc_out={stubs}", f"--plugin=protoc-gen-grpc={plugin.strip()}",
                "keyhop/options/v1/options.proto", "keyhop/delivery/v1/delivery.proto")
    master, slave = access(demo, MASTER), access(demo, SLAVE)
    words = ["--ca", master["ca"]]
    for end, name, at in (("master", MASTER, master), ("slave", SLAVE, slave)):
        words += [f"--{end}", name, f"--{end}-node", at["grpc"], f"--{end}-cert", at["cert"],
                  f"--{end}-key", at["key"]]
    done = subprocess.run([PYTHON, f"{EXAMPLES}/python/draw_and_fetch.py", *words],
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": stubs})
    world.expect(done.returncode == 0 and "hold the same 3 keys" in done.stdout,
                 f"python: {done.stdout} {done.stderr}")


def rotate(demo, script, of_end, rounds, watch):
    """Runs both ends of a tunnel example for so many keys."""
    ends = []

    def start(role, sae, partner, line, words):
        at = access(demo, sae)
        argv = [PYTHON, "-u", script, role, "--partner", partner, "--rest", at["rest"],
                "--ca", at["ca"], "--cert", at["cert"], "--key", at["key"], "--line", line,
                "--rounds", str(rounds), "--every", "0.2", *words]
        ends.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     text=True))
        return ends[-1]

    try:
        with watch:
            slave = start("slave", SLAVE, MASTER, "127.0.0.1:0", of_end[1])
            first = slave.stdout.readline()
            world.expect(first.startswith("listening on "), f"{script}: {first}{slave.poll()}")
            master = start("master", MASTER, SLAVE, first.split()[-1], of_end[0])
            said = [end.communicate(timeout=60)[0] for end in (slave, master)]
    finally:
        for end in ends:
            end.kill()
            end.wait()
    world.expect(all(end.returncode == 0 for end in ends), f"{os.path.basename(script)}: {said}")
    world.expect(said[1].count("\n") == rounds, f"{rounds} keys: {said[1]}")


def openssl_client(at, key_id, key):
    """What OpenSSL's own client says to the TLS example; True if the example answers it."""
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", at, "-tls1_3", "-psk", key.hex(), "-psk_identity",
         key_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with client:
        client.stdin.write("hello\n")
        with contextlib.suppress(BrokenPipeError):
            client.stdin.flush()
        answered = any("hello" in line for line in client.stdout)
        client.kill()
        with contextlib.suppress(BrokenPipeError):
            client.stdin.close()
    return answered


def run_tls(demo, work):
    program = os.path.join(demo.options.bin, "keyhop-example-tls-psk")

    def argv(role, sae, partner, at, *words):
        own = access(demo, sae)
        return [program, role, "--partner", partner, "--at", at, "--node", own["grpc"], "--ca",
                own["ca"], "--cert", own["cert"], "--key", own["key"], *words]

    def call(at):
        done = subprocess.run(argv("client", MASTER, SLAVE, at, "--rounds", str(ROUNDS)),
                              capture_output=True, text=True, timeout=60)
        lines = [line.split(": ") for line in done.stdout.splitlines()]
        world.expect(done.returncode == 0 and len({line[0] for line in lines}) == ROUNDS
                     and [line[1] for line in lines] == [f"round {i + 1}" for i in range(ROUNDS)],
                     f"TLS: {done.stdout} {done.stderr}")

    def wait_for(text):
        tunnels.wait_until(lambda: text in world.tail(log, 1000), f"{log} does not say: {text}")

    log = os.path.join(work, "tls_server.log")
    with open(log, "wb") as out:
        server = subprocess.Popen(argv("server", SLAVE, MASTER, "127.0.0.1:0"), stdout=out,
                                  stderr=subprocess.STDOUT)
    with server:
        try:
            wait_for("listening on ")
            at = world.tail(log).split()[-1]
            call(at)
            master = world.Rest(demo, MASTER)
            (key_id, key), = world.keys_of(master.draw(SLAVE, size=256)[1]).items()
            world.expect(openssl_client(at, key_id, base64.b64decode(key)), "TLS: openssl")
            # A key is fetched once: a key_ID that is shown again opens nothing.
            world.expect(not openssl_client(at, key_id, base64.b64decode(key)),
                         "TLS: a key_ID was used twice")
            (key_id, key), = world.keys_of(master.draw(SLAVE, size=256)[1]).items()
            world.expect(not openssl_client(at, key_id, secrets.token_bytes(32)),
                         "TLS: a wrong key lets data pass")
            wait_for("handshake: binder does not verify")
            call(at)
        finally:
            server.kill()


def run_wireguard(demo, work):
    script = f"{EXAMPLES}/wireguard/rotate_psk.py"
    inner = ("10.93.0.1", "10.93.0.2")
    watch = tunnels.Watch()
    with tunnels.Namespaces() as spaces:
        interfaces = [f"{spaces.tag}w{i}" for i in range(2)]
        public = []
        for end, interface in enumerate(interfaces):
            private = os.path.join(work, f"{interface}.key")
            with open(private, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write(tunnels.run("wg", "genkey"))
            with open(private) as f:
                public.append(tunnels.run("wg", "pubkey", text=f.read()).strip())
            spaces.start(end, os.path.join(work, f"{interface}.log"), "wireguard-go", "-f",
                         interface)
            tunnels.wait_until(lambda: os.path.exists(f"/var/run/wireguard/{interface}.sock"),
                               f"no wireguard-go: {work}/{interface}.log")
            tunnels.run("wg", "set", interface, "private-key", private, "listen-port", "51820")
            name = spaces.names[end]
            tunnels.run("ip", "-n", name, "addr", "add", f"{inner[end]}/24", "dev", interface)
            tunnels.run("ip", "-n", name, "link", "set", interface, "up")
        of_end = [["--interface", interfaces[end], "--peer", public[1 - end], "--endpoint",
                   f"{tunnels.UNDER[1 - end]}:51820", "--allowed-ips", f"{inner[1 - end]}/32"]
                  for end in range(2)]

        def psk(end):
            return tunnels.run("wg", "show", interfaces[end], "preshared-keys").split()[1]

        keys = set()
        for _ in range(ROUNDS):
            rotate(demo, script, of_end, 1, watch)
            world.expect(psk(0) == psk(1), "the two ends have different keys")
            keys.add(psk(0))
            world.expect(spaces.received(*inner) > 0, "WireGuard: nothing passes after a rotation")
        world.expect(len(keys) == ROUNDS, "a key came twice")
        for key in keys:
            watch.expect_without(re.escape(key.encode()))
            watch.expect_without(base64.b64decode(key).hex().encode())
        last = psk(0)

        def give(end, key):
            peer = ["wg", "set", interfaces[end], "peer", public[1 - end]]
            tunnels.run(*peer, "remove")
            tunnels.run(*peer, "preshared-key", "/dev/stdin", "endpoint",
                        f"{tunnels.UNDER[1 - end]}:51820", "allowed-ips", f"{inner[1 - end]}/32",
                        text=key)

        # Peers set anew shake hands anew: with the same key that works, with another it does not.
        for wrong in (False, True):
            give(0, last)
            give(1, base64.b64encode(secrets.token_bytes(32)).decode() if wrong else last)
            world.expect((spaces.received(*inner) == 0) == wrong,
                         "WireGuard: a wrong key lets packets pass" if wrong else
                         "WireGuard: the right key does not work by hand")
        rotate(demo, script, of_end, ROUNDS, watch)
        world.expect(spaces.received(*inner) > 0, "WireGuard: nothing passes after a good key")


STRONGSWAN = """charon {{
  load = random nonce aes sha1 sha2 hmac kdf openssl pem pkcs1 pkcs8 x509 pubkey socket-default \
kernel-libipsec kernel-netlink vici updown
  filelog {{ stderr {{ default = 1 }} }}
  syslog {{ daemon {{ default = -1 }} auth {{ default = -1 }} }}
  plugins {{ vici {{ socket = {vici} }} }}
}}
"""
SWANCTL = """connections {{ qkd {{
  version = 2
  local_addrs = {local}
  remote_addrs = {remote}
  proposals = aes256-sha256-ecp256
  unique = replace
  ppk_required = yes
  local {{ auth = psk
    id = {own} }}
  remote {{ auth = psk
    id = {other} }}
  children {{ net {{
    local_ts = {own_net}/32
    remote_ts = {other_net}/32
    esp_proposals = aes256-sha256 }} }}
}} }}
secrets {{ ike-1 {{ secret = 0x{psk} }} }}
"""


def run_ikev2(demo, work):
    script = f"{EXAMPLES}/ikev2/rotate_ppk.py"
    inner = ("10.92.1.1", "10.92.2.1")
    psk = secrets.token_hex(32)
    # A path of a socket has 107 characters at most: none below `work`.
    watch = tunnels.Watch()
    with tunnels.Namespaces() as spaces, \
            tempfile.TemporaryDirectory(prefix="keyhop-") as sockets:
        of_end, vici, confs = [], [], []
        for end, name in enumerate(spaces.names):
            folder = os.path.join(work, f"ike{end}")
            os.makedirs(folder, mode=0o700)
            vici.append(f"unix://{sockets}/{end}")
            with open(f"{folder}/strongswan.conf", "w") as f:
                f.write(STRONGSWAN.format(vici=vici[end]))
            confs.append(SWANCTL.format(
                local=tunnels.UNDER[end], remote=tunnels.UNDER[1 - end], own=f"end{end}",
                other=f"end{1 - end}", own_net=inner[end], other_net=inner[1 - end], psk=psk))
            with open(f"{folder}/swanctl.conf", "w",
                      opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write(confs[end])
            tunnels.run("ip", "-n", name, "addr", "add", f"{inner[end]}/32", "dev", "lo")
            # Its pid file has one place: each gets a /run of its own.
            spaces.start(end, f"{folder}/charon.log", "unshare", "-m", "sh", "-c",
                         "mount -t tmpfs none /run && exec /usr/lib/ipsec/charon",
                         env={"STRONGSWAN_CONF": f"{folder}/strongswan.conf"})
            of_end.append(["--vici", vici[end], "--conf", f"{folder}/swanctl.conf",
                           "--connection", "qkd", "--child", "net"])
        for end in range(2):
            tunnels.wait_until(lambda: os.path.exists(vici[end][len("unix://"):]),
                               f"no charon: {work}/ike{end}/charon.log")
        rotate(demo, script, of_end, ROUNDS, watch)
        world.expect(spaces.received(*inner) > 0, "IKEv2: nothing passes after three rotations")
        with open(f"{work}/ike1/charon.log") as f:
            world.expect(f.read().count("using PPK for PPK_ID") == ROUNDS, "a PPK was not used")
        for end in range(2):
            wrong = f"{work}/ike{end}/wrong.conf"
            with open(wrong, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
                f.write(confs[end] + f"secrets {{ ppk-wrong {{ id = wrong\n"
                        f"secret = 0x{secrets.token_hex(32)} }} }}\n"
                        "connections { qkd { ppk_id = wrong\n } }\n")
            tunnels.run("swanctl", "--load-all", "--clear", "--noprompt", "--file", wrong, "--uri",
                        vici[end])
        tunnels.run("swanctl", "--terminate", "--ike", "qkd", "--uri", vici[0])
        done = subprocess.run(["swanctl", "--initiate", "--child", "net", "--timeout", "20", "--uri",
                               vici[0]], capture_output=True, text=True)
        world.expect(done.returncode != 0 and "AUTHENTICATION_FAILED" in done.stdout,
                     f"IKEv2: a wrong PPK: {done.stdout}")
        world.expect(spaces.received(*inner) == 0, "IKEv2: a wrong PPK lets packets pass")
        rotate(demo, script, of_end, 1, watch)
        world.expect(spaces.received(*inner) > 0, "IKEv2: nothing passes after a good key")
        watch.expect_without(b"0x[0-9a-f]{64}")


def test():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        run_curl(demo)
        run_python(demo, options.work)
        run_tls(demo, options.work)
        run_wireguard(demo, options.work)
        run_ikev2(demo, options.work)
        print("curl, Python, TLS, WireGuard, IKEv2")


world.main(test)
