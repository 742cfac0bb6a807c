"""Kills processes at random under load: nothing is delivered twice, nothing drawn is lost.

--rounds N kills (default 6), --seed S, --load T pairs that draw and fetch all the time.
"""
import collections
import random
import threading
import time

import world

# A key that cannot be fetched for this long, with all processes up, is lost.
FETCHABLE_WITHIN_S = 60


class Ledger:
    """Every key that anyone got; the judge of the run. Thread-safe."""

    def __init__(self):
        self.lock = threading.Lock()
        self.failures = []
        self.keys = {}  # key_ID -> key
        self.bytes = {}  # key -> key_ID
        self.fetched = set()
        self.uncertain = set()  # A fetch of it was cut: it may be used up.
        self.burnt = 0  # Uncertain, and used up indeed.
        self.counts = collections.Counter()

    def fail(self, text):
        with self.lock:
            self.failures.append(text)

    def drew(self, pair, keys):
        with self.lock:
            for key_id, key in keys.items():
                if key_id in self.keys:
                    self.failures.append(f"{pair}: key_ID {key_id} was drawn twice")
                if key in self.bytes:
                    self.failures.append(f"{pair}: the same key was drawn twice: {key_id} and "
                                         f"{self.bytes[key]}")
                self.keys[key_id] = key
                self.bytes[key] = key_id

    def fetched_now(self, pair, asked, keys):
        with self.lock:
            if set(asked) != set(keys):
                self.failures.append(f"{pair}: asked for {asked}, got {list(keys)}")
            for key_id, key in keys.items():
                if key_id in self.fetched:
                    self.failures.append(f"{pair}: {key_id} was delivered to the slave twice")
                if self.keys.get(key_id) != key:
                    self.failures.append(f"{pair}: the two ends differ about {key_id}")
                self.fetched.add(key_id)


class Pair(threading.Thread):
    """One ordered pair under load: draws, fetches most at once, keeps some for the end."""

    def __init__(self, demo, ledger, pair, front, seed):
        super().__init__(daemon=True)
        self.demo, self.ledger, self.pair = demo, ledger, pair
        self.random = random.Random(seed)
        self.master = front(demo, pair[0])
        self.slave = front(demo, pair[1])
        self.stopping = threading.Event()
        self.waiting = collections.deque()  # Drawn, not fetched.
        self.kept = []

    def run(self):
        try:
            while not self.stopping.is_set():
                self.draw()
                if self.waiting:
                    self.fetch(self.waiting[0]) and self.waiting.popleft()
                self.stopping.wait(0.02)
        except Exception as error:  # Whatever ends a thread ends the test.
            self.ledger.fail(f"{self.pair}: {type(error).__name__}: {error}")

    def draw(self):
        if len(self.waiting) >= 50:
            return
        try:
            status, body = self.master.draw(self.pair[1], number=self.random.choice([1, 1, 2, 5]))
        except world.NO_ANSWER:
            self.ledger.counts["draws without answer"] += 1
            return
        if status == 200:
            keys = world.keys_of(body)
            self.ledger.drew(self.pair, keys)
            self.ledger.counts["keys drawn"] += len(keys)
            # One key a fetch: what a cut fetch may have used up is one key.
            for key_id in keys:
                (self.kept if self.random.random() < 0.2 else self.waiting).append(key_id)
        elif status == 503:
            self.ledger.counts["draws refused"] += 1
        else:
            self.ledger.fail(f"{self.pair}: draw: {status} {body}")

    def fetch(self, key_id):
        """True when there is nothing more to ask about this key."""
        ledger = self.ledger
        try:
            status, body = self.slave.fetch(self.pair[0], [key_id])
        except world.NO_ANSWER:
            ledger.uncertain.add(key_id)
            ledger.counts["fetches without answer"] += 1
            return False
        if status == 200:
            ledger.fetched_now(self.pair, [key_id], world.keys_of(body))
            ledger.counts["keys fetched"] += 1
            if self.random.random() < 0.02:
                self.fetch_again(key_id)
            return True
        if status == 503:
            ledger.counts["fetches refused"] += 1
            return False
        if status == 400 and key_id in ledger.uncertain:
            ledger.burnt += 1
            return True
        ledger.fail(f"{self.pair}: {key_id} was drawn and cannot be fetched: {status} {body}")
        return True

    def fetch_again(self, key_id):
        try:
            status, body = self.slave.fetch(self.pair[0], [key_id])
        except world.NO_ANSWER:
            return
        if status == 200:
            self.ledger.fetched_now(self.pair, [key_id], world.keys_of(body))
        elif status not in (400, 503):
            self.ledger.fail(f"{self.pair}: a used key: {status} {body}")

    def fetch_the_rest(self):
        """All processes are up: whatever was drawn comes now, once."""
        deadline = time.monotonic() + FETCHABLE_WITHIN_S
        rest = list(self.waiting) + self.kept
        for key_id in rest:
            while not self.fetch(key_id):
                if time.monotonic() > deadline:
                    self.ledger.fail(f"{self.pair}: {key_id} cannot be fetched after "
                                     f"{FETCHABLE_WITHIN_S} s")
                    return
                time.sleep(0.1)


def check(ledger, demo):
    demo.check_alive()
    with ledger.lock:
        world.expect(not ledger.failures, "; ".join(ledger.failures[:5]))


def test():
    options = world.parse_arguments(lambda parser: (
        parser.add_argument("--rounds", type=int, default=6),
        parser.add_argument("--seed", type=int, default=1),
        parser.add_argument("--load", type=int, default=6)))
    print(f"seed {options.seed}, {options.rounds} rounds")
    chance = random.Random(options.seed)
    ledger = Ledger()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        # The farthest pair both ways over REST and gRPC, two SAEs of one home, and others.
        chosen = [("sae-1", "sae-4"), ("sae-4", "sae-1"), ("sae-4", "sae-6")]
        others = [p for p in demo.pairs() if p not in chosen]
        chosen += chance.sample(others, max(0, options.load - len(chosen)))
        loads = [Pair(demo, ledger, pair, world.Rest, options.seed * 1000 + i)
                 for i, pair in enumerate(chosen)]
        loads.append(Pair(demo, ledger, ("sae-1", "sae-6"), world.Cli, options.seed))
        for load in loads:
            load.start()
        names = sorted(demo.processes)
        worst = 0.0
        for number in range(1, options.rounds + 1):
            time.sleep(chance.uniform(0.2, 2.0))
            killed = chance.sample(names, chance.choice([1, 1, 1, 2, 3]))
            for name in killed:
                demo.kill(name)
            time.sleep(chance.choice([0.0, chance.uniform(0.0, 1.5)]))
            for name in killed:
                demo.restart(name)
            # Sometimes the next kill comes while the network still recovers.
            if number == options.rounds or chance.random() < 0.5:
                took = world.wait_until_all_deliver(demo)
                worst = max(worst, took)
                print(f"round {number}: {', '.join(killed)}; all pairs deliver after {took:.1f} s; "
                      f"{dict(ledger.counts)}", flush=True)
            check(ledger, demo)
        for load in loads:
            load.stopping.set()
        for load in loads:
            load.join(90)
            world.expect(not load.is_alive(), f"{load.pair}: a request hangs")
            load.fetch_the_rest()
        check(ledger, demo)
        counts = ledger.counts
        print(f"{options.rounds} rounds: {dict(counts)}; {ledger.burnt} keys used up by fetches "
              f"that were cut; slowest recovery {worst:.1f} s")
        world.expect(counts["keys fetched"] >= 20 * options.rounds, "hardly any key was delivered")
        world.expect(counts["keys fetched"] + ledger.burnt == counts["keys drawn"],
                     "keys drawn and fetched do not add up")


world.main(test)
