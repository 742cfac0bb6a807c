#!/usr/bin/env python3
"""Mixes a new post-quantum pre-shared key (RFC 8784) from QKD into an IKEv2 connection of
strongSwan, again and again.

At each end, beside charon with its vici socket and a swanctl.conf that has the connection with
`ppk_required = yes` and the secrets for its own authentication; the slave first:

  rotate_ppk.py slave  --vici unix:///run/charon.vici --conf swanctl.conf --connection NAME \\
    --child NAME --partner sae-a --rest HOST:PORT --ca FILE --cert FILE --key FILE --line HOST:PORT
  rotate_ppk.py master ... --partner sae-b ... --every 3600

The PPK_ID on the wire is the key_ID. swanctl reads its file more than once, so the key goes to it in
one that is in memory only and that nobody else can open: it is on no command line and on no disk.
IKEv2 mixes a PPK when an IKE SA is authenticated; the master, the
initiator, therefore replaces the IKE SA with each key.
"""
import argparse
import base64
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import qkd_pair


def main():
    parser = argparse.ArgumentParser()
    qkd_pair.add_arguments(parser)
    for name in ("vici", "conf", "connection", "child"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    with open(options.conf) as f:
        conf = f.read()

    def swanctl(*words, files=()):
        done = subprocess.run(["swanctl", *words, "--uri", options.vici], pass_fds=files, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise RuntimeError(f"swanctl {words[0]}: {done.stdout}")

    def use(key_id, key):
        # Sections of one name are merged: the PPK joins what swanctl.conf says.
        secret = base64.b64decode(key).hex()
        both = (f"{conf}\nsecrets {{ ppk-qkd {{ id = {key_id}\n secret = 0x{secret}\n }} }}\n"
                f"connections {{ {options.connection} {{ ppk_id = {key_id}\n }} }}\n")
        with open(os.memfd_create("swanctl.conf"), "w") as f:
            os.fchmod(f.fileno(), 0o600)
            f.write(both)
            f.flush()
            swanctl("--load-all", "--clear", "--noprompt", "--file", f"/proc/self/fd/{f.fileno()}",
                    files=[f.fileno()])
        if options.role == "master":
            subprocess.run(["swanctl", "--terminate", "--ike", options.connection, "--timeout", "5",
                            "--uri", options.vici], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)  # There is none before the first key.
            swanctl("--initiate", "--child", options.child, "--timeout", "20")

    qkd_pair.run(options, use)


if __name__ == "__main__":
    main()
