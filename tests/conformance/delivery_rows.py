"""Rows of the table that need more than one SAE's request: several slaves, retries, KMEs that are away."""
import signal
import time

import world
from rows import NOT_FOUND, UNMET, Fault, edit, flip_fetched, row, sends, status_is, without

ADDITIONAL = ["sae-2", "sae-6"]


# ---- Several slaves.

def only_first_home(request):
    request.body = request.body.replace(b'"additional_slave_SAE_IDs"', b'"left_out"')


@row("6.2, B", "multicast: same bytes and ID at all, each slave once", Fault(answer=flip_fetched))
def _(kme):
    keys = kme.drawn(number=2, additional_slave_SAE_IDs=ADDITIONAL)
    for slave in ["sae-4", *ADDITIONAL]:
        got = kme.fetch(list(keys), slave)
        world.expect(got.status == 200 and kme.container(got) == keys, f"{slave}: {got.status}")
        again = kme.fetch(list(keys), slave)
        world.expect((again.status, again.json().get("message")) == (400, NOT_FOUND),
                     f"{slave} twice: {again.status}")


@row("6.2, B", "multicast: additional slaves are really served", sends(only_first_home))
def _(kme):
    keys = kme.drawn(additional_slave_SAE_IDs=ADDITIONAL)
    world.expect(all(kme.fetch(list(keys), slave).status == 200 for slave in ADDITIONAL), "not served")


@row("6.2, B", "multicast: an SAE of an additional slave's KME that was not named gets 401",
     Fault(act_as=lambda request, sae: "sae-6" if "dec_keys" in request.target else sae))
def _(kme):
    keys = kme.drawn(slave="sae-2", additional_slave_SAE_IDs=["sae-6"])
    got = kme.fetch(list(keys), "sae-4")
    world.expect((got.status, got.json()) == (401, {"message": "Unauthorized"}), f"{got.status}")
    world.expect(kme.container(kme.fetch(list(keys), "sae-6")) == keys, "spoilt for the right slave")


@row("6.2, B", "multicast, all or nothing: with one KME away nobody gets anything", status_is(200))
def _(kme):
    with stopped(kme, "n3"):
        before = stored(kme, "sae-2", "sae-5")
        got = kme.draw(slave="sae-5", sae="sae-2", additional_slave_SAE_IDs=["sae-3"])
        world.expect(got.status == 503 and "retry-after" in got.headers, f"{got.status} {got.body[:99]}")
        world.expect("keys" not in got.json(), "a refusal with keys")
        world.expect(stored(kme, "sae-2", "sae-5") <= before, "keys came from nowhere")


# ---- Retries.

def forgets_key(request):
    request.headers = [(n, v) for n, v in request.headers if n.lower() != "idempotency-key"]


def keyed(kme, key, body, sae="sae-1"):
    return kme.ask("POST", "/api/v1/keys/sae-4/enc_keys", body, sae,
                   {"Content-Type": "application/json", "Idempotency-Key": key})


def fresh_key():
    return f"row-{time.monotonic_ns()}"


@row("clients", "Idempotency-Key: the identical request gets the identical answer", sends(forgets_key))
def _(kme):
    key = fresh_key()
    first, again = keyed(kme, key, {"number": 3}), keyed(kme, key, {"number": 3})
    world.expect((first.status, again.status) == (200, 200), f"{first.status} {again.status}")
    world.expect(kme.container(first) == kme.container(again), "another answer")


@row("clients", "same Idempotency-Key, other body: 422", sends(forgets_key))
def _(kme):
    key = fresh_key()
    world.expect(keyed(kme, key, {"number": 1}).status == 200, "first")
    other = keyed(kme, key, {"number": 2})
    world.expect(other.status == 422 and other.json().get("message"), f"{other.status}")


# ---- Quotas.

class quota:
    """sae-1 may draw 60 keys at once and one a second."""

    def __init__(self, kme):
        self.operator = world.Operator(kme.demo)

    def __enter__(self):
        self.operator.ask("n1", "quota", "set", "sae-1", "--keys-per-second", "1", "--burst", "60")

    def __exit__(self, *_):
        self.operator.ask("n1", "quota", "reset", "sae-1")


@row("clients", "quota used up: 503, Retry-After, and which one it is", without("retry-after"))
def _(kme):
    with quota(kme):
        kme.drawn(number=60)
        got = kme.draw(number=60)
        world.expect(got.status == 503, f"{got.status} {got.body[:200]}")
        world.expect(1 <= int(got.headers["retry-after"]) <= 60, "Retry-After")
        details = {name: text for detail in got.json()["details"] for name, text in detail.items()}
        world.expect(details == {"quota": "this SAE", "keys_per_s": "1", "burst_ms": "60000"},
                     f"{details}")


@row("clients", "more than a quota ever gives at once: 400, and nothing is taken", status_is(503))
def _(kme):
    with quota(kme):
        got = kme.draw(number=61)
        world.expect(got.status == 400 and "ever gives at once" in got.json()["message"],
                     f"{got.status} {got.body[:200]}")
        kme.drawn(number=60)


# ---- KMEs that are away.

class stopped:
    """A node that does not answer anybody for a while."""

    def __init__(self, kme, *nodes):
        self.demo, self.nodes = kme.demo, nodes

    def __enter__(self):
        for node in self.nodes:
            self.demo.signal(node, signal.SIGSTOP)

    def __exit__(self, *_):
        for node in self.nodes:
            self.demo.signal(node, signal.SIGCONT)


def stored(kme, master, slave):
    return kme.ask("GET", f"/api/v1/keys/{slave}/status", sae=master).json()["stored_key_count"]


@row("T6", "peer KME down, more asked than is at hand: 503 within the deadline, nothing consumed",
     without("retry-after"))
def _(kme):
    with stopped(kme, "n5"):
        before = stored(kme, "sae-3", "sae-5")
        started = time.monotonic()
        got = kme.draw(slave="sae-5", sae="sae-3", number=128, size=16384,
                       extension_mandatory=[{"keyhop_deadline_ms": 700}])
        world.expect(got.status == 503 and int(got.headers["retry-after"]) >= 1, f"{got.status}")
        world.expect(0.6 < time.monotonic() - started < 5, f"{time.monotonic() - started:.1f} s")
        world.expect(stored(kme, "sae-3", "sae-5") == before, "keys are gone")


@row("6.2", "extensions: keyhop_paths_min: a key over two paths is the same at both ends, over more "
     "than there are it is refused", Fault(answer=flip_fetched))
def _(kme):
    over = lambda paths, ms: [{"keyhop_paths_min": paths}, {"keyhop_deadline_ms": ms}]
    got = kme.draw(slave="sae-4", sae="sae-1", extension_mandatory=over(2, 20000))
    world.expect(got.status == 200, f"{got.status} {got.body[:200]}")
    drawn = kme.container(got)
    fetched = kme.container(kme.fetch(list(drawn), "sae-4", "sae-1"))
    world.expect(fetched == drawn, "the keys differ")
    got = kme.draw(slave="sae-4", sae="sae-1", extension_mandatory=over(4, 0))
    world.expect(got.status == 400 and got.json()["message"] == UNMET, f"{got.status} {got.body[:200]}")


@row("clients", "just after a restart, before the two KMs have spoken: 503, Retry-After, and the key "
     "stays fetchable", without("retry-after"))
def _(kme):
    keys = kme.drawn(slave="sae-2", sae="sae-3")
    with stopped(kme, "n3"):
        kme.demo.kill("n2")
        kme.demo.restart("n2")
        until(kme, lambda: kme.ask("GET", "/api/v1/keys/sae-3/status", sae="sae-2").status in (200, 503))
        got = kme.fetch(list(keys), "sae-2", "sae-3")
        world.expect(got.status == 503 and int(got.headers["retry-after"]) >= 1, f"{got.status}")
        got = kme.draw(slave="sae-3", sae="sae-2")
        world.expect(got.status == 503 and "retry-after" in got.headers, f"draw: {got.status}")
    until(kme, lambda: kme.fetch(list(keys), "sae-2", "sae-3").status == 200)


def until(kme, condition):
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while True:
        try:
            if condition():
                return
        except world.NO_ANSWER:
            kme.demo.check_alive()
        world.expect(time.monotonic() < deadline, "not in time")
        time.sleep(0.1)


@row("5.1", "the refusal of one SAE tells nothing of another's pairs",
     edit(lambda body: body.update(message=body["message"] + " sae-5")))
def _(kme):
    got = kme.draw(slave="sae-77", sae="sae-2")
    world.expect(got.status == 400 and b"sae-5" not in got.body, f"{got.status} {got.body[:99]}")
