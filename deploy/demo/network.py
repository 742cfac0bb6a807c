"""The demo network: what runs where, and the files that say so."""
import dataclasses
import json
import os
import random
import socket
import subprocess

HOST = "127.0.0.1"
LISTENERS = ["rest", "grpc", "kx", "kq1", "metrics", "admin", "etsi004"]
# Below the ephemeral range, so that no outgoing connection takes a port while its node is down.
BLOCK = 16  # Ports for each node; the last is held, those between are for tests and benchmarks.
BLOCKS = range(20000, 32000, BLOCK)
guards = []  # Sockets that hold this process's blocks.


@dataclasses.dataclass(frozen=True)
class Topology:
    nodes: list
    links: list  # Pairs of nodes, the lower ID first.
    lengths_km: list
    saes: list  # (SAE, its home).
    pool: str  # Stock per direction of a pair of nodes.
    # The model's T12 links make megabits a second over the demo's lengths.
    time_speedup: float = 1
    extra: str = ""  # More of a node's configuration.


DEMO = Topology(
    # A ring with a chord; n4 is two hops from n1, the farthest there is.
    nodes=["n1", "n2", "n3", "n4", "n5"],
    links=[("n1", "n2"), ("n2", "n3"), ("n3", "n4"), ("n4", "n5"), ("n1", "n5"), ("n2", "n5")],
    lengths_km=[40, 45, 38, 50, 35, 48],
    # One SAE at each node, two at the farthest.
    saes=[("sae-1", "n1"), ("sae-2", "n2"), ("sae-3", "n3"), ("sae-4", "n4"), ("sae-5", "n5"),
          ("sae-6", "n4")],
    # Half of a pool is leased ahead; two SAEs share n4's streams and need 200 keys each.
    pool="64KiB")


def link_id(a, b):
    return f"{a}-{b}"


def hold(port):
    """A socket bound to the port, so that nobody else can; None if somebody has it."""
    holder = socket.socket()
    try:
        holder.bind((HOST, port))
        return holder
    except OSError:
        holder.close()
        return None


def choose_block():
    """The first of BLOCK ports that are free. The last one is held as long as this process lives:
    it keeps other demos away from the block while our listeners are not up."""
    for base in random.sample(BLOCKS, len(BLOCKS)):
        guard = hold(base + BLOCK - 1)
        if guard is None:
            continue
        probes = [hold(base + i) for i in range(len(LISTENERS))]
        free = all(probes)
        for probe in filter(None, probes):
            probe.close()
        if free:
            guards.append(guard)
            return base
        guard.close()
    raise SystemExit(f"demo: no {BLOCK} free ports in a row from {BLOCKS[0]} to {BLOCKS[-1]}")


def choose_ports(topology, run_dir):
    """Ports are chosen once per run folder and kept."""
    path = os.path.join(run_dir, "ports.json")
    if os.path.exists(path):
        with open(path) as f:
            ports = json.load(f)
        for node in topology.nodes:
            base = min(ports[node].values())
            guard = hold(base + BLOCK - 1)
            if guard is None:
                raise SystemExit(f"demo: another demo uses the ports from {base}, which {path} keeps "
                                 "for this run folder: end it, or remove that file")
            guards.append(guard)
        return ports
    ports = {}
    for node in topology.nodes:
        base = choose_block()
        ports[node] = {listener: base + i for i, listener in enumerate(LISTENERS)}
    write_file(path, json.dumps(ports))
    return ports


def write_file(path, text):
    """Appears whole or not at all."""
    partial = path + ".partial"
    with open(partial, "w") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(partial, path)


def make_certificates(topology, root, run_dir):
    args = [os.path.join(root, "deploy", "make-certs.sh"), os.path.join(run_dir, "pki")]
    for node in topology.nodes:
        args += ["--node", node]
    for sae, _ in topology.saes:
        args += ["--sae", sae]
    for a, b in topology.links:
        args += ["--module", "qkd-" + link_id(a, b), "--link", link_id(a, b)]
    args += ["--operator", "demo"]
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def node_config(topology, run_dir, ports, node):
    pki = os.path.join(run_dir, "pki")
    lines = ["node:", f"  id: {node}", f"  state_dir: {run_dir}/state/{node}",
             f"  kek_file: {pki}/nodes/{node}/kek", "listeners:"]
    lines += [f"  {name}: {HOST}:{ports[node][name]}" for name in LISTENERS]
    lines += ["tls:", f"  node_cert: {pki}/nodes/{node}/node.crt",
              f"  node_key: {pki}/nodes/{node}/node.key", f"  node_ca: {pki}/node-ca.crt",
              f"  sae_ca: {pki}/sae-ca.crt", f"  operator_ca: {pki}/operator-ca.crt", "saes:"]
    lines += [f"  - id: {sae}" for sae, home in topology.saes if home == node]
    lines += ["links:"]
    for a, b in topology.links:
        if node not in (a, b):
            continue
        peer = b if node == a else a
        lines += [f"  - id: {link_id(a, b)}", f"    peer: {peer}",
                  f"    peer_kx: {HOST}:{ports[peer]['kx']}",
                  f"    link_key_file: {pki}/links/{link_id(a, b)}.key",
                  f"    modules: [qkd-{link_id(a, b)}]"]
    lines += ["pools:", f"  target_bytes: {topology.pool}", "  prefill: ALL_KNOWN_NODES"]
    return "\n".join(lines) + "\n" + topology.extra


def simulator_config(topology, run_dir, ports, index):
    a, b = topology.links[index]
    pki = os.path.join(run_dir, "pki")
    module = f"{pki}/modules/qkd-{link_id(a, b)}"
    return "\n".join([
        f"state_dir: {run_dir}/state/qkd-{link_id(a, b)}", f"time_speedup: {topology.time_speedup}", "tls:",
        f"  ca: {pki}/node-ca.crt", f"  cert: {module}/module.crt", f"  key: {module}/module.key",
        "links:", f"  - id: {link_id(a, b)}", f"    length_km: {topology.lengths_km[index]}",
        "    block_bytes: 4096", "    ends:"] + [
            line for end in (a, b)
            for line in (f"      - node: {end}", f"        kq1: {HOST}:{ports[end]['kq1']}")]) + "\n"


def plan(topology, run_dir, bin_dir, ports):
    """[(name, argv)] of all processes; writes their configurations."""
    processes = []
    for node in topology.nodes:
        path = os.path.join(run_dir, f"{node}.yaml")
        write_file(path, node_config(topology, run_dir, ports, node))
        processes.append((node, [os.path.join(bin_dir, "keyhopd"), "--config", path]))
    for index, (a, b) in enumerate(topology.links):
        name = "qkd-" + link_id(a, b)
        path = os.path.join(run_dir, f"{name}.yaml")
        write_file(path, simulator_config(topology, run_dir, ports, index))
        os.makedirs(os.path.join(run_dir, "state", name), exist_ok=True)
        processes.append((name, [os.path.join(bin_dir, "keyhop-qkdsim"), "--config", path]))
    return processes


def describe(topology, run_dir, ports, processes):
    """What demo.json says."""
    pki = os.path.join(run_dir, "pki")

    def address(node, listener):
        return f"{HOST}:{ports[node][listener]}"

    return {
        "ca": f"{pki}/node-ca.crt",
        "operator": {"cert": f"{pki}/operators/demo/operator.crt",
                     "key": f"{pki}/operators/demo/operator.key"},
        "nodes": [{"id": node, "rest": address(node, "rest"), "grpc": address(node, "grpc"),
                   "kx": address(node, "kx"), "kq1": address(node, "kq1"),
                   "admin": address(node, "admin"), "etsi004": address(node, "etsi004"),
                   "metrics": f"https://{address(node, 'metrics')}/metrics",
                   "cert": f"{pki}/nodes/{node}/node.crt", "key": f"{pki}/nodes/{node}/node.key"}
                  for node in topology.nodes],
        "saes": [{"id": sae, "node": home, "cert": f"{pki}/saes/{sae}/sae.crt",
                  "key": f"{pki}/saes/{sae}/sae.key"} for sae, home in topology.saes],
        "links": [{"id": link_id(a, b), "a": a, "b": b} for a, b in topology.links],
        "processes": processes,
    }
