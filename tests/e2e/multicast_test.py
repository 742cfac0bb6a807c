"""Additional slaves on real processes: all of their nodes hold the key, or nobody gets it."""
import os
import signal
import time

import world

TEXT_NOT_FOUND = "one or more keys specified are not found on KME"


def expect_same(drawn, slaves, master):
    """Every slave gets the same keys, once."""
    for name, slave in slaves.items():
        status, body = fetch_patiently(slave, master, list(drawn))
        world.expect(status == 200, f"fetch by {name}: {status} {body}")
        world.expect(world.keys_of(body) == drawn, f"{name} got other keys than {master}")
    for name, slave in slaves.items():
        status, body = slave.fetch(master, list(drawn))
        world.expect(status == 400, f"second fetch by {name}: {status} {body}")


def fetch_patiently(slave, master, ids):
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while True:
        try:
            status, body = slave.fetch(master, ids)
        except world.NO_ANSWER as error:
            status, body = 503, {"message": str(error)}
        if status != 503 or time.monotonic() > deadline:
            return status, body
        time.sleep(0.2)


def draw_patiently(draw):
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while True:
        status, body = draw()
        if status != 503 or time.monotonic() > deadline:
            return status, body
        time.sleep(0.2)


def many_homes(demo, rest):
    """REST and gRPC; slaves at three other homes and more, two of them at one node if there are."""
    status, body = rest["sae-1"].status("sae-2")
    most = body["max_SAE_ID_count"]
    world.expect(status == 200 and most >= 4, f"status: {status} {body}")
    others = [s["id"] for s in demo.world["saes"] if s["id"] != "sae-1"]
    homes = {demo.sae(s)["node"] for s in others}
    world.expect(len(homes - {demo.sae("sae-1")["node"]}) >= 3, f"too few homes: {homes}")
    first, further = others[0], others[1:]
    status, body = draw_patiently(lambda: rest["sae-1"].draw(
        first, number=3, size=512, additional_slave_SAE_IDs=further))
    world.expect(status == 200 and len(body["keys"]) == 3, f"draw by REST: {status} {body}")
    expect_same(world.keys_of(body), {s: rest[s] for s in others}, "sae-1")

    one = world.Cli(demo, "sae-1")
    status, body = draw_patiently(lambda: one.draw(first, number=2, additional=further))
    world.expect(status == 200 and len(body["keys"]) == 2, f"draw by gRPC: {status} {body}")
    expect_same(world.keys_of(body), {s: world.Cli(demo, s) for s in others}, "sae-1")


def refusals(demo, rest):
    one = rest["sae-1"]
    status, before = one.status("sae-2")
    most = before["max_SAE_ID_count"]
    for what, saes in (("none", []), ("blank", [""]), ("twice", ["sae-3", "sae-3"]),
                       ("the master", ["sae-1"]), ("the slave", ["sae-2"]),
                       ("unknown", ["sae-3", "nobody"]),
                       ("too many", [f"x{i}" for i in range(most + 1)])):
        status, body = one.draw("sae-2", additional_slave_SAE_IDs=saes)
        world.expect(status == 400 and body.get("message"), f"{what}: {status} {body}")
    # Not named: where the key is held 401, elsewhere it is not found.
    status, body = draw_patiently(lambda: one.draw("sae-2", additional_slave_SAE_IDs=["sae-3"]))
    world.expect(status == 200, f"draw: {status} {body}")
    drawn = world.keys_of(body)
    status, body = rest["sae-4"].fetch("sae-1", list(drawn))
    world.expect(status == 400 and body["message"] == TEXT_NOT_FOUND,
                 f"fetch by an SAE that is not named: {status} {body}")
    expect_same(drawn, {s: rest[s] for s in ("sae-2", "sae-3")}, "sae-1")


def killed_after_the_answer(demo, rest):
    """What the master was answered is there, also when the further node dies at once."""
    status, body = draw_patiently(
        lambda: rest["sae-1"].draw("sae-2", number=5, additional_slave_SAE_IDs=["sae-3"]))
    demo.kill("n3")
    world.expect(status == 200, f"draw: {status} {body}")
    demo.restart("n3")
    expect_same(world.keys_of(body), {s: rest[s] for s in ("sae-3", "sae-2")}, "sae-1")


def silent_home(demo, rest):
    """A further home that does not answer costs this draw alone."""
    demo.signal("n3", signal.SIGSTOP)
    try:
        started = time.monotonic()
        status, body = rest["sae-1"].draw("sae-2", additional_slave_SAE_IDs=["sae-3"])
        took = time.monotonic() - started
        world.expect(status == 503 and body.get("message"), f"silent home: {status} {body}")
        world.expect(took < 8, f"refused after {took:.1f} s")
        status, body = rest["sae-1"].draw("sae-2")
        world.expect(status == 200, f"draw without the silent home: {status} {body}")
    finally:
        demo.signal("n3", signal.SIGCONT)
    status, body = draw_patiently(
        lambda: rest["sae-1"].draw("sae-2", additional_slave_SAE_IDs=["sae-3"]))
    world.expect(status == 200, f"after the silence: {status} {body}")
    expect_same(world.keys_of(body), {s: rest[s] for s in ("sae-2", "sae-3")}, "sae-1")


def test():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        world.expect([demo.sae(f"sae-{i}")["node"] for i in (1, 2, 3)] == ["n1", "n2", "n3"],
                     "the demo has its SAEs elsewhere than this test thinks")
        rest = {sae["id"]: world.Rest(demo, sae["id"]) for sae in demo.world["saes"]}
        many_homes(demo, rest)
        refusals(demo, rest)
        silent_home(demo, rest)
        killed_after_the_answer(demo, rest)
        demo.check_alive()
        text = "".join(world.tail(os.path.join(demo.run_dir, "logs", name), 10_000)
                       for name in os.listdir(os.path.join(demo.run_dir, "logs")))
        world.expect("check failed" not in text, "a node stopped over a check of its own")


world.main(test)
