"""Draw and fetch while the two ends cannot reach each other; what a restarted end says then."""
import signal
import time

import world

ENDS = ("n1", "n4")
KEYS = 100


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


def test():
    options = world.parse_arguments()
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
