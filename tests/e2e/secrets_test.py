"""No run of eight bytes of a delivered key is in any log, metric or file of the run."""
import base64
import os
import subprocess
import time

import world

ROUNDS = 15


def scan(options, folder, keys):
    done = subprocess.run([os.path.join(options.bin, "keyhop_secret_scan"), folder],
                          input="\n".join(keys) + "\n", capture_output=True, text=True)
    world.expect(done.returncode in (0, 1), f"the scan failed: {done.stderr}")
    return done.returncode == 0, done.stdout


def check_the_scan(options, key):
    """The scan finds what was planted, so its silence means something."""
    raw = base64.b64decode(key)
    plants = {"raw": raw[5:13], "hex": raw[3:11].hex().encode(), "HEX": raw[:8].hex().upper().encode(),
              "base64-0": base64.b64encode(raw[4:13]), "base64-1": base64.b64encode(b"x" + raw[4:15]),
              "base64-2": base64.b64encode(b"xy" + raw[4:15])}
    for name, plant in plants.items():
        folder = os.path.join(options.work, f"planted-{name}")
        os.makedirs(folder)
        with open(os.path.join(folder, "file"), "wb") as f:
            f.write(b"some text: " + plant + b" and more")
        clean, said = scan(options, folder, [key])
        world.expect(not clean, f"the scan misses a planted key ({name}): {said}")


def told_by_operators(demo):
    """Metrics and everything that the admin API tells, kept beside the logs."""
    operator = demo.world["operator"]
    for node in demo.world["nodes"]:
        folder = os.path.join(demo.run_dir, "told")
        os.makedirs(folder, exist_ok=True)
        metrics = subprocess.run(
            ["curl", "-sS", "--fail", "--max-time", "10", "--cacert", demo.world["ca"], "--cert",
             operator["cert"], "--key", operator["key"], node["metrics"]],
            capture_output=True)
        world.expect(metrics.returncode == 0, f"metrics of {node['id']}: {metrics.stderr}")
        world.expect(b"# TYPE" in metrics.stdout, f"metrics of {node['id']}: {metrics.stdout[:200]}")
        with open(os.path.join(folder, f"{node['id']}.metrics"), "wb") as f:
            f.write(metrics.stdout)
        for words in (["status"], ["nodes"], ["links"], ["pools"]):
            told = subprocess.run(
                [os.path.join(demo.options.bin, "keyhop"), "--node", node["admin"], "--ca",
                 demo.world["ca"], "--cert", operator["cert"], "--key", operator["key"], "--json",
                 *words], capture_output=True)
            world.expect(told.returncode == 0, f"keyhop {words[0]}: {told.stderr}")
            with open(os.path.join(folder, f"{node['id']}.{words[0]}"), "wb") as f:
                f.write(told.stdout)


def test():
    options = world.parse_arguments()
    keys = []
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        pairs = demo.pairs()
        for number in range(ROUNDS):
            for master, slave in pairs:
                front = world.Cli if number == 0 and master == "sae-1" else world.Rest
                status, body = front(demo, master).draw(slave, number=4)
                world.expect(status in (200, 503), f"draw: {status}")
                if status != 200:
                    continue
                drawn = world.keys_of(body)
                keys += drawn.values()
                # Some stay unfetched in the stores; bad requests make errors and logs.
                if number % 3 != 2:
                    front(demo, slave).fetch(master, list(drawn))
                    front(demo, slave).fetch(master, list(drawn)[:1])
            if number == ROUNDS // 2:
                demo.kill("n4")
                demo.restart("n4")
                world.wait_until_all_deliver(demo)
        told_by_operators(demo)
        time.sleep(1)
        while_up = scan(options, demo.run_dir, keys)
        demo.stop()
        after = scan(options, demo.run_dir, keys)
    world.expect(while_up[0], while_up[1])
    world.expect(after[0], after[1])
    check_the_scan(options, keys[0])
    world.expect(len(keys) >= 500, f"only {len(keys)} keys were delivered")
    print(f"{len(keys)} keys: {after[1].strip()}")


world.main(test)
