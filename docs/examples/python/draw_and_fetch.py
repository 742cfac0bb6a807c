#!/usr/bin/python3
"""Draws keys over gRPC as the master and fetches them as the slave, with the packaged python3-grpcio.

Before the first run make the stubs from proto/ (python3-grpc-tools of Debian 12 is too old for its
python3-grpcio; protoc and the plugin of protobuf-compiler-grpc are not):

  protoc -I proto --python_out=STUBS --grpc_out=STUBS --plugin=protoc-gen-grpc=$(which \\
    grpc_python_plugin) keyhop/options/v1/options.proto keyhop/delivery/v1/delivery.proto

  PYTHONPATH=STUBS draw_and_fetch.py --ca FILE \\
    --master ID --master-node HOST:PORT --master-cert FILE --master-key FILE \\
    --slave ID --slave-node HOST:PORT --slave-cert FILE --slave-key FILE [--number N]
"""
import argparse
import hmac
import sys
import time
import uuid

import grpc
from keyhop.delivery.v1 import delivery_pb2, delivery_pb2_grpc

DEADLINE_S = 10


def read(path):
    with open(path, "rb") as f:
        return f.read()


def connect(node, ca, cert, key):
    """One channel serves all calls of a program: open it once and keep it."""
    credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(cert))
    return delivery_pb2_grpc.KeyDeliveryStub(grpc.secure_channel(node, credentials))


def ask(method, request):
    """Asks again until the deadline when the connection broke or the node said "not now". The same
    idempotency key gets the same answer, so nothing is drawn twice."""
    name = [("idempotency-key", str(uuid.uuid4()))]
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            return method(request, metadata=name, timeout=max(0, end - time.monotonic()))
        except grpc.RpcError as error:
            said = dict(error.trailing_metadata() or ())
            wait = int(said.get("retry-after-ms", 100)) / 1000
            again = "retry-after-ms" in said or error.code() == grpc.StatusCode.UNAVAILABLE
            if not again or time.monotonic() + wait > end:
                raise
            time.sleep(wait)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ca", required=True)
    parser.add_argument("--number", type=int, default=3)
    for end in ("master", "slave"):
        for name in (end, f"{end}-node", f"{end}-cert", f"{end}-key"):
            parser.add_argument(f"--{name}", required=True)
    o = parser.parse_args()
    master = connect(o.master_node, o.ca, o.master_cert, o.master_key)
    slave = connect(o.slave_node, o.ca, o.slave_cert, o.slave_key)

    drawn = ask(master.GetKey, delivery_pb2.KeyRequest(
        slave_sae_id=o.slave, number=o.number, size=256)).keys
    # The master tells its partner the key_IDs, which are no secret; here both are this program.
    fetched = ask(slave.GetKeyWithKeyIds, delivery_pb2.KeyIdsRequest(
        master_sae_id=o.master, key_ids=[{"key_id": k.key_id} for k in drawn])).keys

    same = len(fetched) == o.number and all(
        a.key_id == b.key_id and hmac.compare_digest(a.key, b.key)
        for a, b in zip(drawn, fetched))
    for key in drawn:
        print(f"{key.key_id}: {len(key.key) * 8} bits")
    if not same:
        sys.exit("the keys differ")
    print(f"{o.master} and {o.slave} hold the same {o.number} keys")


if __name__ == "__main__":
    main()
