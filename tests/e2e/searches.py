"""The search for key bytes in all that a network wrote and said; what is asked of its operators."""
import base64
import os
import subprocess

import world


def search(options, folders, secrets):
    """(whether no run of eight bytes of a secret is there, what the search says). Secrets: base64."""
    done = subprocess.run([os.path.join(options.bin, "keyhop_secret_scan"), *folders],
                          input="\n".join(secrets) + "\n", capture_output=True, text=True)
    world.expect(done.returncode in (0, 1), f"the search failed: {done.stderr}")
    return done.returncode == 0, done.stdout


def check_the_search(options, secret, secrets=None):
    """The search finds what was planted, so its silence means something."""
    raw = base64.b64decode(secret)
    plants = {"raw": raw[5:13], "hex": raw[3:11].hex().encode(),
              "HEX": raw[:8].hex().upper().encode(),
              "base64-0": base64.b64encode(raw[4:13]),
              "base64-1": base64.b64encode(b"x" + raw[4:15]),
              "base64-2": base64.b64encode(b"xy" + raw[4:15])}
    for name, plant in plants.items():
        folder = os.path.join(options.work, f"planted-{name}")
        os.makedirs(folder)
        with open(os.path.join(folder, "file"), "wb") as f:
            f.write(b"some text: " + plant + b" and more")
        clean, said = search(options, [folder], secrets or [secret])
        world.expect(not clean, f"the search misses a planted key ({name}): {said}")


def keep_what_operators_hear(demo):
    """Metrics and everything that the admin API tells, kept beside the logs."""
    operator = demo.world["operator"]
    folder = os.path.join(demo.run_dir, "told")
    os.makedirs(folder, exist_ok=True)
    for node in demo.world["nodes"]:
        with open(os.path.join(folder, f"{node['id']}.metrics"), "w", encoding="utf-8") as f:
            f.write(world.metrics(demo, node))
        for words in (["status"], ["nodes"], ["links"], ["pools"]):
            told = subprocess.run(
                [os.path.join(demo.options.bin, "keyhop"), "--node", node["admin"], "--ca",
                 demo.world["ca"], "--cert", operator["cert"], "--key", operator["key"], "--json",
                 *words], capture_output=True)
            world.expect(told.returncode == 0, f"keyhop {words[0]}: {told.stderr}")
            with open(os.path.join(folder, f"{node['id']}.{words[0]}"), "wb") as f:
                f.write(told.stdout)
