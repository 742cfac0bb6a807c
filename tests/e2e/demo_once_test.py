"""./deploy/demo.sh: --once passes and leaves demo.json; two run side by side; SIGTERM ends all."""
import json
import os
import time

import world


def check_world(demo):
    with open(os.path.join(demo.run_dir, "demo.json")) as f:
        said = json.load(f)
    paths = [said["ca"], said["operator"]["cert"], said["operator"]["key"]]
    for holder in said["nodes"] + said["saes"]:
        paths += [holder["cert"], holder["key"]]
    for process in said["processes"]:
        paths += [process["cwd"], process["log"]]
        world.expect(set(process) == {"name", "pid", "argv", "cwd", "env", "log"},
                     f"demo.json: process {process['name']} says {sorted(process)}")
    for path in paths:
        world.expect(os.path.isabs(path) and os.path.exists(path), f"demo.json: no {path}")
    world.expect(len(said["nodes"]) >= 5 and len(said["saes"]) >= 6, "demo.json: a small network")
    homes = [s["node"] for s in said["saes"]]
    world.expect(all(n["id"] in homes for n in said["nodes"]), "demo.json: a node without SAE")
    world.expect(len(said["processes"]) == len(said["nodes"]) + len(said["links"]),
                 "demo.json: processes are the key managers and the links' simulators")
    ports = [n[k] for n in said["nodes"] for k in ("rest", "grpc", "kx", "kq1", "admin")]
    world.expect(all(int(p.rsplit(":", 1)[1]) < 32768 for p in ports), "a port is ephemeral")
    return said


def at_least_200_keys(demo):
    for master, slave in demo.pairs():
        status, body = world.Rest(demo, master).status(slave)
        world.expect(status == 200 and body["stored_key_count"] >= 200,
                     f"{master} > {slave}: {status} {body}")


def finish_once(demo):
    deadline = time.monotonic() + world.UP_WITHIN_S
    while demo.script.poll() is None:
        world.expect(time.monotonic() < deadline, "--once does not end")
        time.sleep(0.1)
    said = world.tail(demo.output_path, 40)
    world.expect(demo.script.returncode == 0, f"--once: exit {demo.script.returncode}: {said}")
    world.expect(said.count("the keys match") == 2, f"--once says no match both ways: {said}")
    world.expect(not demo.pids_running(), "--once left processes behind")
    check_world(demo)


def test():
    options = world.parse_arguments()
    with (world.Demo(options, "once", ["--once"], by_script=True).start() as once,
          world.Demo(options, "stays", by_script=True).start() as stays):
        finish_once(once)
        stays.wait_until_up()
        at_least_200_keys(stays)
        first = check_world(stays)
        # Whoever restarts a process in the demo's place does not leave it behind.
        stays.kill("n3")
        stays.restart("n3")
        stays.kill("qkd-n1-n2")
        stays.restart("qkd-n1-n2")
        stays.stop()
        world.expect(not os.path.exists(os.path.join(stays.run_dir, "demo.json")),
                     "demo.json speaks of a network that is gone")
        # Again in the same folder: the same ports, up in seconds.
        started = time.monotonic()
        stays.start()
        stays.wait_until_up()
        print(f"second start: {time.monotonic() - started:.1f} s")
        again = check_world(stays)
        world.expect(first["nodes"] == again["nodes"], "the ports changed between two runs")


world.main(test)
