"""Draws over gRPC beside an empty echo: real key managers, a real adjacent pair.

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
    saes=[("sae-1", "b1"), ("sae-2", "b2")], pool="8MiB", time_speedup=100)
WINDOW_DRAWS = 40_000  # More than one window takes, so that no draw meets an empty pool.
FILLED_WITHIN_S = 120


def wait_for_stock(world):
    rest = run.Rest(world, world["saes"][0])
    deadline = time.monotonic() + FILLED_WITHIN_S
    count = 0
    while time.monotonic() < deadline:
        try:
            status, body = rest.get("/api/v1/keys/sae-2/status")
            count = body.get("stored_key_count", 0) if status == 200 else 0
            if count >= WINDOW_DRAWS:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    raise SystemExit(f"bench: the pair has {count} keys after {FILLED_WITHIN_S} s, "
                     f"not {WINDOW_DRAWS}; the logs are in {world['processes'][0]['cwd']}/logs")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--run-dir", required=True)
    options = parser.parse_args()
    run_dir = os.path.abspath(options.run_dir)
    shutil.rmtree(run_dir, ignore_errors=True)
    os.umask(0o077)
    os.makedirs(os.path.join(run_dir, "logs"))
    signal.signal(signal.SIGTERM, run.on_signal)

    ports = network.choose_ports(PAIR, run_dir)
    network.make_certificates(PAIR, options.root, run_dir)
    plan = network.plan(PAIR, run_dir, options.bin, ports)
    echo_address = f"{network.HOST}:{network.free_port(set())}"
    bench = os.path.join(options.bin, "keyhop-bench")
    echo = None
    try:
        processes = [run.start(run_dir, name, argv) for name, argv in plan]
        world = network.describe(PAIR, run_dir, ports, processes)
        node, sae = world["nodes"][0], world["saes"][0]
        echo = subprocess.Popen([bench, "echo-server", "--listen", echo_address, "--ca",
                                 f"{run_dir}/pki/sae-ca.crt", "--cert", node["cert"], "--key",
                                 node["key"]])
        wait_for_stock(world)
        done = subprocess.run([bench, "draw_grpc", "--draw", node["grpc"], "--echo", echo_address,
                               "--ca", world["ca"], "--cert", sae["cert"], "--key", sae["key"],
                               "--slave", "sae-2"])
        return done.returncode
    except run.Ended:
        return 1
    finally:
        if echo is not None:
            echo.terminate()
            echo.wait()
        run.end_all([argv[-1] for _, argv in plan])


sys.exit(main())
