"""The cases of the models that take seconds, as one test: about a minute in all.

Runs only with KEYHOP_MODEL=1 in the environment, else it says that it was skipped (exit 77). `smoke.py --full` runs the six
models entirely (about 12 minutes). Exits 1 if a verdict is not the one in the README's table.
"""
import os
import subprocess
import sys

from engine import explore, show
from epochs import Epochs
import links
from notices import Notices
from pads import TwoSided
import sessions
from streams import Stream

V, H, SKIPPED = "VIOLATION", "holds", 77
HERE = os.path.dirname(os.path.abspath(__file__))

CASES = [
    ("pads: no confirmation", V, lambda: TwoSided(2, 1, (1, 0), unconfirmed=True)),
    ("pads: lease request tagged with pads of the range it asks for", V,
     lambda: TwoSided(2, 1, (1, 0), lease_tag_from_own_range=True)),
    ("pads: receive window kept across restarts", V, lambda: TwoSided(2, 1, (0, 0), window_survives=True)),
    ("pads: separate hellos, no restore, 2 pads, 1 crash", H, lambda: TwoSided(2, 1, (0, 0))),
    ("pads: separate hellos, the lower end restored, 1 pad, 1 crash", H, lambda: TwoSided(1, 1, (1, 0))),
    ("pads: separate hellos, the higher end restored, 1 pad, 1 crash", H, lambda: TwoSided(1, 1, (0, 1))),
    ("pads: a mark beyond the stock, the lower end restored, 1 pad, 1 crash", H, lambda: TwoSided(1, 1, (1, 0), stock=True)),
    ("pads: a mark beyond the stock, the higher end restored, 1 pad, 1 crash", H, lambda: TwoSided(1, 1, (0, 1), stock=True)),
    ("streams: A restored to any image, 1 key, 2 crashes", H,
     lambda: Stream(restores=(1, 0), crashes=2, offsets=1, made=1, requests=False)),
    ("streams: B restored to an image older than the last exchange, 1 key, 2 crashes", H,
     lambda: Stream(restores=(0, 1), stale_only=True, crashes=2, offsets=1, made=1, requests=False)),
    ("streams: B serves fetches before it heard A", V,
     lambda: Stream(restores=(0, 1), stale_only=True, hear_first=False, offsets=1, made=1, requests=False)),
    ("streams: only marks are compared, not versions", V,
     lambda: Stream(restores=(0, 1), use_ver=False, stale_only=True, offsets=1, made=1, requests=False)),
    ("epochs: no restore, leases asked for, 1 epoch, a segment", H, lambda: Epochs(epochs=1)),
    ("epochs: no restore, lease on arrival, 2 epochs", H, lambda: Epochs(arrival=True)),
    ("epochs: a mark beyond the stock is refused", "WEDGED", lambda: Epochs(refuse_far_mark=True, arrival=True)),
    ("epochs: B restored to an image younger than the last message", V,
     lambda: Epochs(any_image=True, restores=(0, 1), arrival=True)),
    ("notices: 1 key, 2 crashes", H, lambda: Notices(keys=1)),
    ("notices: two KMs, 1 key, 1 crash", H, lambda: Notices(keys=1, homes=2, crashes=1)),
    ("notices: the notice does not consume the lease bytes", V, lambda: Notices(keys=1, consume=False)),
    ("notices: A answers the master before the notice stands", V, lambda: Notices(keys=1, wait_for_all=False)),
    ("notices: A takes an answer that comes after its cancel", V, lambda: Notices(keys=1, ignore_late=False)),
]


for model, prefix, cases in ((links.Link, "links: ", links.CASES), (sessions.Sessions, "sessions: ", sessions.CASES)):
    for name, verdict, kw, _, short in cases:
        if short:
            CASES.append((prefix + name, verdict, lambda model=model, kw=kw: model(**kw)))


def full():
    ok = True
    for name in ("pads", "streams", "epochs", "notices", "links", "sessions"):
        out = subprocess.run([sys.executable, os.path.join(HERE, name + ".py")], stdout=subprocess.PIPE, text=True, check=True)
        print(out.stdout, flush=True)
        ok &= out.stdout.rstrip().endswith("\nall as expected")
    return ok


def smoke():
    ok = True
    for name, expect, make in CASES:
        ok &= show(name, explore(make(), want_heal=expect != V), expect)
    return ok


if __name__ == "__main__":
    if "--full" in sys.argv:
        sys.exit(0 if full() else 1)
    if os.environ.get("KEYHOP_MODEL") != "1":
        print("skipped: set KEYHOP_MODEL=1")
        sys.exit(SKIPPED)
    sys.exit(0 if smoke() else 1)
