"""Every row of the table against real KMEs over real TLS; then each against a fault planted for it."""
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), HERE]

import sae_certificates  # noqa: E402
import world  # noqa: E402
from client import Kme  # noqa: E402
from proxy import Proxy  # noqa: E402
from rows import ROWS  # noqa: E402
import connection_rows  # noqa: E402, F401  (adds its rows)
import delivery_rows  # noqa: E402, F401  (adds its rows)

WRONG = (world.Failure, OSError, ValueError, KeyError, TypeError, AttributeError,
         *world.NO_ANSWER)


def failure_of(row, kme):
    """Why the row fails; None if it holds."""
    try:
        row.check(kme)
    except WRONG as error:
        return f"{type(error).__name__}: {error}"
    return None


def failure_with_fault(row, demo):
    proxy = Proxy(demo, row.fault)
    try:
        return failure_of(row, Kme(demo, proxy.port))
    finally:
        proxy.close()


def test():
    options = world.parse_arguments(
        lambda parser: parser.add_argument("--only", default="", help="rows with this in their text"))
    rows = [row for row in ROWS if options.only in f"{row.clause}: {row.text}"]
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        demo.sae_ca = lambda: os.path.join(demo.run_dir, "pki", "sae-ca.crt")
        demo.bad_certificates = sae_certificates.make(demo, os.path.join(options.work, "bad"))
        for node in demo.world["nodes"]:  # REST reads the revocation list.
            demo.signal(node["id"], signal.SIGHUP)
        wrong = []
        for row in rows:
            why = failure_of(row, Kme(demo))
            if why is not None:
                wrong.append(f"{row.clause}: {row.text}: {why}")
        for row in rows:
            if failure_with_fault(row, demo) is None:
                wrong.append(f"{row.clause}: {row.text}: holds although it was broken")
        demo.check_alive()
        print(f"{len(rows)} rows, {len(wrong)} wrong")
        world.expect(not wrong, "\n".join(["", *wrong]))


world.main(test)
