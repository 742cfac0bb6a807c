"""All of Kx and Kq-1 is tapped above TLS: what goes over Kx is what the pads make of keys, and no
run of eight bytes of any pad or key is in Kx traffic, logs, metrics, errors or files."""
import base64
import json
import os

import searches
import taps
import world

ROUNDS = 10
# Key from Kq-1 is all searched for: so slow that this stays some megabytes.
LINE = taps.network.Topology(
    nodes=["n1", "n2", "n3"], links=[("n1", "n2"), ("n2", "n3")], lengths_km=[40, 45],
    saes=[("sae-1", "n1"), ("sae-2", "n2"), ("sae-3", "n3"), ("sae-4", "n3")], pool="16KiB",
    time_speedup=0.05)


class Answers:
    """Every refusal, kept as a file beside the logs."""

    def __init__(self, demo):
        self.path = os.path.join(demo.run_dir, "refusals")

    def keep(self, status, body):
        world.expect(status != 200, f"granted: {status}")
        with open(self.path, "a") as f:
            f.write(f"{status} {json.dumps(body)}\n")


def draw_and_fetch(demo, answers, front, master, slave, leave):
    """The keys that the master got; with `leave` one of them stays in the stores."""
    try:
        status, body = front(demo, master).draw(slave, number=3)
        if status != 200:
            answers.keep(status, body)
            return []
        keys = world.keys_of(body)
        ids = list(keys)[1:] if leave else list(keys)
        status, body = front(demo, slave).fetch(master, ids)
        if status == 200:
            got = world.keys_of(body)
            world.expect(got == {i: keys[i] for i in ids}, f"{master} and {slave}: keys differ")
            answers.keep(*front(demo, slave).fetch(master, ids[:1]))  # Used.
        else:
            answers.keep(status, body)
        answers.keep(*front(demo, slave).draw(slave))
    except world.NO_ANSWER:
        return []
    return list(keys.values())


def taken(demo, frame, used):
    """The pad bytes that a relay frame names: s, then as many as its payload. None is in `used`;
    then all are."""
    path = [value.decode() for number, value in frame if number == 8]
    hop = dict(frame).get(9, 0)
    link = "-".join(sorted(path[hop:hop + 2]))
    out = b""
    for number, value in frame:
        if number != 12:
            continue
        pad = dict(taps.fields(value))
        book = dict(taps.fields(pad.get(2, b"")))
        place = (link, book.get(1, 0), book.get(2, 0), pad.get(3, 0))
        begin, end = pad.get(4, 0), pad.get(4, 0) + pad.get(5, 0)
        out += demo.pads[place][begin:end]
        named = {(place, i) for i in range(begin, end)}
        world.expect(not named & used, f"a pad was used for two frames: {place}")
        used |= named
    return out[:16], out[16:]


def xor(a, b):
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def check_frames(demo):
    """The payload is the first hop's pad; a later hop carries it under pads used for nothing else.
    The number of frames at each hop."""
    used, payloads, at_hop = set(), {}, {}
    for frame in list(demo.frames):
        one = dict(frame)
        hop = one.get(9, 0)
        _, pad = taken(demo, frame, used)
        at_hop[hop] = at_hop.get(hop, 0) + 1
        if hop == 0:
            world.expect(not one.get(14), "something is sent of the first hop's payload")
            payloads[one[2]] = pad
        else:
            world.expect(len(one[14]) == len(pad), "a ciphertext without its pad")
            world.expect(xor(one[14], pad) == payloads[one[2]],
                         "a ciphertext is not the payload under its pad")
    return at_hop


def check_keys_are_pads(demo, keys):
    """Keys between nodes are pads of a first link: the taps on Kq-1 saw what there was to see."""
    whole = {}
    for place in sorted(demo.pads):
        whole.setdefault(place[:3], bytearray()).extend(demo.pads[place])
    found = sum(any(base64.b64decode(key) in pads for pads in whole.values()) for key in keys)
    # A key may lie across two segments, whose pads lie apart.
    world.expect(found >= 0.7 * len(keys), f"only {found} of {len(keys)} keys are pads of Kq-1")
    return found


def test():
    options = world.parse_arguments()
    keys, relayed = [], []
    with taps.TappedNetwork(options, LINE).start() as demo:
        world.wait_until_all_deliver(demo, world.UP_WITHIN_S)
        answers = Answers(demo)
        for number in range(ROUNDS):
            for master, slave in demo.pairs():
                front = world.Cli if number == 0 and master == "sae-1" else world.Rest
                got = draw_and_fetch(demo, answers, front, master, slave, leave=number % 3 == 0)
                keys += got
                if {master, slave} in ({"sae-1", "sae-3"}, {"sae-1", "sae-4"}):
                    relayed += got
            if number == ROUNDS // 2:
                for name in ("n2", "qkd-n2-n3"):
                    demo.kill(name)
                    demo.restart(name)
                world.wait_until_all_deliver(demo)
        searches.keep_what_operators_hear(demo)
        tapped = os.path.join(options.work, "kx")
        demo.write_kx(tapped)
        secrets = [base64.b64encode(pad).decode() for pad in demo.pads.values()] + keys
        while_up = searches.search(options, [demo.run_dir, tapped], secrets)
        demo.stop()
        demo.check_taps()
        size = demo.write_kx(tapped)
        secrets = [base64.b64encode(pad).decode() for pad in demo.pads.values()] + keys
        after = searches.search(options, [demo.run_dir, tapped], secrets)
        world.expect(while_up[0], while_up[1])
        world.expect(after[0], after[1])
        world.expect(demo.unequal == 0, f"{demo.unequal} pads differ between the two ends")
        at_hop = check_frames(demo)
        world.expect(at_hop.get(1, 0) >= 10, f"frames at each hop: {at_hop}")
        world.expect(len(relayed) >= 50, f"only {len(relayed)} keys were relayed")
        found = check_keys_are_pads(demo, relayed)
    with open(os.path.join(tapped, "planted"), "wb") as f:
        f.write(os.urandom(100) + base64.b64decode(relayed[-1])[9:17] + os.urandom(100))
    world.expect(not searches.search(options, [tapped], secrets)[0], "a planted run was not found")
    searches.check_the_search(options, secrets[0], secrets)
    print(f"{len(keys)} keys ({len(relayed)} over two hops, {found} of them found whole on Kq-1), "
          f"{demo.kx_messages} messages and {size} bytes on Kx, frames at each hop {at_hop}; "
          f"{after[1].strip()}")


world.main(test)
