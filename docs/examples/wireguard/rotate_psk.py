#!/usr/bin/env python3
"""Gives a WireGuard peer a new pre-shared key from QKD again and again.

At each end, beside a WireGuard interface (kernel or wireguard-go) that has its private key and
listens; the slave first:

  rotate_psk.py slave  --interface wg0 --peer PUBLIC_KEY --endpoint HOST:PORT --allowed-ips NET \\
    --partner sae-a --rest HOST:PORT --ca FILE --cert FILE --key FILE --line HOST:PORT
  rotate_psk.py master ... --partner sae-b ... --every 120

The key goes to `wg` by its standard input: it is on no command line and in no file. WireGuard uses a
new pre-shared key from its next handshake on; the peer is set anew here, so that this is at once.
"""
import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import qkd_pair


def main():
    parser = argparse.ArgumentParser()
    qkd_pair.add_arguments(parser)
    for name in ("interface", "peer", "endpoint", "allowed-ips"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()

    def use(_key_id, key):
        peer = ["wg", "set", options.interface, "peer", options.peer]
        subprocess.run([*peer, "remove"], check=True)
        # 256 bits in base64: what `wg` reads is what ETSI GS QKD 014 gives.
        subprocess.run([*peer, "preshared-key", "/dev/stdin", "endpoint", options.endpoint,
                        "allowed-ips", options.allowed_ips], input=key.encode(), check=True)

    qkd_pair.run(options, use)


if __name__ == "__main__":
    main()
