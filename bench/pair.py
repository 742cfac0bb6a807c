"""Measures key delivery on real key managers: an adjacent pair, an empty server beside it.

Two keyhopd with RocksDB stores in the run folder and one keyhop-qkdsim between them; the draws go
to the first, whose pools are filled by relay from the link's pads while the draws go on.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "deploy", "demo"))
import network  # noqa: E402
import run  # noqa: E402

PAIR = network.Topology(
    nodes=["b1", "b2"], links=[("b1", "b2")], lengths_km=[10],
    saes=[("sae-1", "b1"), ("sae-2", "b2")], pool="4MiB", time_speedup=100)
KEYS_AT_HAND = 60_000  # More than one window draws, so that none meets an empty pool.
FILLED_WITHIN_S = 60
EMPTY = {"draw_grpc": "grpc-echo", "draw_rest": "rest-empty"}


def wait_for_stock(world):
    rest = run.Rest(world, world["saes"][0])
    deadline = time.monotonic() + FILLED_WITHIN_S
    count = 0
    while time.monotonic() < deadline:
        try:
            status, body = rest.get("/api/v1/keys/sae-2/status")
            count = body.get("stored_key_count", 0) if status == 200 else 0
            if count >= KEYS_AT_HAND:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    raise SystemExit(f"bench: the pair has {count} keys after {FILLED_WITHIN_S} s, "
                     f"not {KEYS_AT_HAND}; the logs are in {world['processes'][0]['cwd']}/logs")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--run-dir", required=True)
    parser.add_argument("name")
    parser.add_argument("more", nargs="*", help="options of keyhop-bench")
    options = parser.parse_args()
    run_dir = os.path.abspath(options.run_dir)
    shutil.rmtree(run_dir, ignore_errors=True)
    os.umask(0o077)
    os.makedirs(os.path.join(run_dir, "logs"))
    signal.signal(signal.SIGTERM, run.on_signal)

    ports = network.choose_ports(PAIR, run_dir)
    network.make_certificates(PAIR, options.root, run_dir)
    plan = network.plan(PAIR, run_dir, options.bin, ports)
    # The block of a node has more ports than it has listeners.
    empty_address = f"{network.HOST}:{ports['b1']['rest'] + len(network.LISTENERS)}"
    bench = os.path.join(options.bin, "keyhop-bench")
    empty = None
    try:
        processes = [run.start(run_dir, name, argv) for name, argv in plan]
        world = network.describe(PAIR, run_dir, ports, processes)
        node, slave_node = world["nodes"]
        sae, slave = world["saes"]
        argv = [bench, options.name, "--grpc", node["grpc"], "--rest", node["rest"], "--node-pid",
                str(processes[0]["pid"]), "--ca", world["ca"], "--cert", sae["cert"], "--key",
                sae["key"], "--slave-grpc", slave_node["grpc"], "--slave-node-pid",
                str(processes[1]["pid"]), "--slave-cert", slave["cert"], "--slave-key",
                slave["key"], "--master", sae["id"], "--slave", slave["id"]]
        if options.name in EMPTY:
            empty = subprocess.Popen(
                [bench, EMPTY[options.name], "--listen", empty_address, "--ca",
                 f"{run_dir}/pki/sae-ca.crt", "--cert", node["cert"], "--key", node["key"]])
            argv += ["--empty", empty_address, "--empty-pid", str(empty.pid)]
        wait_for_stock(world)
        return subprocess.run(argv + options.more).returncode
    except run.Ended:
        return 1
    finally:
        if empty is not None:
            empty.terminate()
            empty.wait()
        run.end_all([argv[-1] for _, argv in plan])


sys.exit(main())
