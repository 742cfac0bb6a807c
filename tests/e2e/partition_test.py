"""Draw and fetch while the two ends cannot reach each other; what a restarted end says then."""
import signal
import time

import taps
import world

ENDS = ("n1", "n4")
KEYS = 100
LINE = taps.network.Topology(
    nodes=["n1", "n2", "n3"], links=[("n1", "n2"), ("n2", "n3")], lengths_km=[10, 15],
    saes=[("sae-1", "n1"), ("sae-2", "n2"), ("sae-3", "n3")], pool="32KiB")


def draw(master, slave, number):
    status, body = master.draw(slave, number=number)
    world.expect(status == 200 and len(body["keys"]) == number,
                 f"draw of {number} in the partition: {status} {body.get('message')}")
    return world.keys_of(body)


def fetch(slave, master, keys):
    status, body = slave.fetch(master, list(keys))
    world.expect(status == 200, f"fetch in the partition: {status} {body}")
    world.expect(world.keys_of(body) == keys, "the two ends differ")


def fetch_until_there(slave, master, keys):
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while True:
        status, body = slave.fetch(master, list(keys))
        if status == 200:
            world.expect(world.keys_of(body) == keys, "the two ends differ after the restart")
            return
        world.expect(status == 503, f"a key drawn before the restart: {status} {body}")
        world.expect(time.monotonic() < deadline, f"still {status} {body}")
        time.sleep(0.2)


def check_no_link_at_all(options):
    """Neighbours too deliver while no node reaches another, and after."""
    with taps.TappedNetwork(options, LINE).start() as network:
        network.wait_until_all_have(KEYS)
        clients = {sae["id"]: world.Rest(network, sae["id"]) for sae in network.world["saes"]}
        network.partition()
        for _ in range(2):
            for master, slave in network.pairs():
                fetch(clients[slave], master, draw(clients[master], slave, KEYS // 2))
            time.sleep(2)  # Past every retry.
        network.heal()
        took = world.wait_until_all_deliver(network)
        network.check_taps()
        print(f"no node reached another; all pairs deliver {took:.1f} s after")


def test():
    options = world.parse_arguments()
    check_no_link_at_all(options)
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        between = [n["id"] for n in demo.world["nodes"] if n["id"] not in ENDS]
        one, four = world.Rest(demo, "sae-1"), world.Rest(demo, "sae-4")
        for name in between:
            demo.signal(name, signal.SIGSTOP)
        try:
            # Both ways, from leases that were open before.
            fetch(four, "sae-1", draw(one, "sae-4", KEYS))
            fetch(one, "sae-4", draw(four, "sae-1", KEYS))
            time.sleep(3)  # Past every retry: the ends know by now that nobody answers.
            fetch(four, "sae-1", draw(one, "sae-4", KEYS // 2))
            kept = draw(one, "sae-4", 5)
            # An end that restarts has not heard the other: it says so, and keeps what is there.
            demo.kill("n4")
            demo.restart("n4")
            wait_for_answer(four)
            status, body = four.fetch("sae-1", list(kept))
            world.expect(status == 503, f"fetch before the ends spoke: {status} {body}")
            status, body = four.draw("sae-1")
            world.expect(status == 503, f"draw before the ends spoke: {status} {body}")
            # The other end goes on by itself.
            more = draw(one, "sae-4", 5)
        finally:
            for name in between:
                demo.signal(name, signal.SIGCONT)
        fetch_until_there(four, "sae-1", kept)
        fetch_until_there(four, "sae-1", more)
        status, body = four.fetch("sae-1", list(kept))
        world.expect(status == 400, f"a used key: {status} {body}")
        print(f"all pairs deliver {world.wait_until_all_deliver(demo):.1f} s after the partition")


def wait_for_answer(rest):
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while True:
        try:
            rest.status("sae-1")
            return
        except world.NO_ANSWER:
            world.expect(time.monotonic() < deadline, "the restarted node does not answer")
            time.sleep(0.05)


world.main(test)
