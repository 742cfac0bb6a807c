"""A slave learns from its own node which keys were drawn for it, and fetches them: the two
applications have no channel of their own. It goes on where it was after kill -9 of its node; what a
kill of the master's node may have lost is told."""
import json
import os
import subprocess
import time

import world

MASTER, SLAVE = "sae-1", "sae-4"
MASTER_NODE, SLAVE_NODE = "n1", "n4"


class Watcher:
    """Reads what `keyhop key watch` prints; remembers how far it got."""

    def __init__(self, demo):
        sae = demo.sae(SLAVE)
        self.argv = [os.path.join(demo.options.bin, "keyhop"), "--node",
                     demo.node(sae["node"])["grpc"], "--ca", demo.world["ca"], "--cert",
                     sae["cert"], "--key", sae["key"], "--json"]
        self.token = None

    def ask(self, keys, timeout_s):
        """One call, until so many keys were told, or for so long; the lines that it printed."""
        resume = [] if self.token is None else ["--resume", self.token]
        done = subprocess.run([*self.argv, "--timeout", str(timeout_s), "key", "watch", "--keys",
                               str(keys), *resume], capture_output=True, text=True, timeout=60)
        world.expect(done.returncode in (0, 4, 5), f"watch: {done.returncode} {done.stderr}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        if lines and lines[-1]["resume"]:
            self.token = lines[-1]["resume"]
        return lines

    def read(self, keys):
        """The next lines, with at least so many keys; asks again while its node is away."""
        lines = []
        deadline = time.monotonic() + world.AGAIN_WITHIN_S
        while True:
            missing = keys - len(ids(lines))
            if missing <= 0:
                return lines
            lines += self.ask(missing, 20)
            world.expect(time.monotonic() < deadline, f"{keys} keys are not announced: {lines}")
            time.sleep(0.1)

    def begin(self, node):
        """From the first call until draws at `node` are told: what was said till then."""
        lines = []
        deadline = time.monotonic() + world.AGAIN_WITHIN_S
        while node not in gaps(lines):
            lines += self.ask(1, 1)
            world.expect(time.monotonic() < deadline, f"no word of {node}: {lines}")
        return lines


def ids(lines):
    return [line["key_ID"] for line in lines if "key_ID" in line]


def gaps(lines):
    return [line["gap_at_KME_ID"] for line in lines if "gap_at_KME_ID" in line]


def draw(master, number):
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while True:
        try:
            status, drawn = master.draw(SLAVE, number=number)
            if status == 200:
                return world.keys_of(drawn)
        except world.NO_ANSWER as error:
            status, drawn = 0, error
        world.expect(time.monotonic() < deadline, f"no draw: {status} {drawn}")
        time.sleep(0.1)


def wait_for_keys(master, number):
    """Until so many can be drawn also if the slave's node goes away."""
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while master.status(SLAVE)[1]["stored_key_count"] < number:
        world.expect(time.monotonic() < deadline, "the pool does not fill")
        time.sleep(0.1)


def test():
    options = world.parse_arguments()
    with world.Demo(options) as demo:
        demo.start().wait_until_up()
        master, slave = world.Rest(demo, MASTER), world.Rest(demo, SLAVE)
        watcher = Watcher(demo)
        # Draws from before the master's node heard of the watcher are told as a gap.
        draw(master, 1)
        first = watcher.begin(MASTER_NODE)
        world.expect(gaps(first)[0] == "" and not ids(first), f"a new watcher is told: {first}")
        keys = draw(master, 1)
        told = watcher.read(1)
        world.expect(ids(told) == list(keys), f"drawn {list(keys)}, told {told}")

        more = draw(master, 5)
        told = watcher.read(5)
        world.expect(ids(told) == list(more) and MASTER_NODE not in gaps(told),
                     f"drawn {list(more)}, told {told}")
        world.expect({t["master_SAE_ID"] for t in told} == {MASTER}, f"masters: {told}")
        status, fetched = slave.fetch(MASTER, ids(told))
        world.expect(status == 200 and world.keys_of(fetched) == more,
                     "what was announced is not what was drawn")

        # The slave's node starts anew: its list is there, and what was drawn meanwhile comes.
        demo.kill(SLAVE_NODE)
        meanwhile = draw(master, 2)
        demo.restart(SLAVE_NODE)
        told = watcher.read(2)
        world.expect(ids(told) == list(meanwhile) and MASTER_NODE not in gaps(told),
                     f"drawn {list(meanwhile)}, told {told}")

        # The master's node starts anew: what it had not handed over is told as a gap.
        wait_for_keys(master, 2)
        demo.kill(SLAVE_NODE)
        lost = draw(master, 2)
        demo.kill(MASTER_NODE)
        demo.restart(SLAVE_NODE)
        demo.restart(MASTER_NODE)
        world.wait_until_all_deliver(demo)
        final = draw(master, 1)
        told = []
        while not set(final) & set(ids(told)):
            told += watcher.read(1)
        world.expect(gaps(told).count(MASTER_NODE) == 1, f"after a kill of the master's node: {told}")
        world.expect(not set(lost) & set(ids(told)), f"what was lost is told: {told}")


world.main(test)
