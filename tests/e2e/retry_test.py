"""A lost answer: the identical request under an idempotency key gets the identical answer, over REST
and gRPC, also after `kill -9`, and for its window only."""
import json
import threading
import time

import world

WINDOW_S = 60  # The default.


class Keyed(world.Rest):
    """Asks under an idempotency key; again where no answer or a 503 comes."""

    def post(self, key, path, body):
        deadline = time.monotonic() + world.AGAIN_WITHIN_S
        while True:
            try:
                status, answer = self.ask("POST", path, body, {"Idempotency-Key": key})
                if status != 503:
                    return status, answer
            except world.NO_ANSWER:
                answer = "none"
            world.expect(time.monotonic() < deadline, f"{path} under {key}: {answer}")
            time.sleep(0.1)

    def draw(self, key, slave, **options):
        return self.post(key, f"/api/v1/keys/{slave}/enc_keys", options)

    def fetch(self, key, master, key_ids):
        return self.post(key, f"/api/v1/keys/{master}/dec_keys",
                         {"key_IDs": [{"key_ID": k} for k in key_ids]})


def check_answer(what, got, expected):
    world.expect(got == expected, f"{what}: {got[0]}, not the same answer as before")


def check_two_at_once(demo):
    answers = []

    def ask():
        answers.append(Keyed(demo, "sae-1").draw("at-once", "sae-2", number=3))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.expect(len(answers) == 8 and answers[0][0] == 200, f"{answers[:1]}")
    for answer in answers:
        check_answer("eight at once", answer, answers[0])


def test():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        world.wait_until_all_deliver(demo)
        master, slave = Keyed(demo, "sae-1"), Keyed(demo, "sae-2")
        check_two_at_once(demo)

        started = time.monotonic()
        drawn = master.draw("order 17", "sae-2", number=2)
        world.expect(drawn[0] == 200 and len(drawn[1]["keys"]) == 2, f"draw: {drawn[0]}")
        ids = list(world.keys_of(drawn[1]))
        fetched = slave.fetch("order 17", "sae-1", ids)
        world.expect(fetched[0] == 200, f"fetch: {fetched[0]}")
        check_answer("the slave's keys", sorted(world.keys_of(fetched[1]).items()),
                     sorted(world.keys_of(drawn[1]).items()))
        check_answer("a repeated draw", master.draw("order 17", "sae-2", number=2), drawn)
        check_answer("a repeated fetch", slave.fetch("order 17", "sae-1", ids), fetched)
        grpc = world.Cli(demo, "sae-1")
        check_answer("the same over gRPC",
                     grpc.ask("get", "sae-2", "--number", "2", "--idempotency-key", "order 17"),
                     drawn)
        status, why = master.draw("order 17", "sae-2", number=3)
        world.expect(status == 422, f"another body: {status} {why}")
        status, why = grpc.ask("get", "sae-2", "--idempotency-key", "order 17")
        world.expect(status == 400 and "another request" in why["message"], f"gRPC: {why}")
        status, _ = slave.fetch("order 18", "sae-1", ids)
        world.expect(status == 400, f"the same keys under another key: {status}")

        for node in ("n1", "n2"):
            demo.kill(node)
            demo.restart(node)
        check_answer("a draw after kill -9", master.draw("order 17", "sae-2", number=2), drawn)
        check_answer("a fetch after kill -9", slave.fetch("order 17", "sae-1", ids), fetched)
        took = time.monotonic() - started
        # In run time: it did not run while it was down, and a start forgets a part of it.
        time.sleep(max(0.0, 1.5 * WINDOW_S - took))  # Time is what is tested.
        status, answer = master.draw("order 17", "sae-2", number=2)
        world.expect(status == 200 and not set(ids) & set(world.keys_of(answer)),
                     f"after its window: {status} {json.dumps(answer)[:60]}")
        print(f"answers were the same {took:.1f} s later, after kill -9 of both nodes")


world.main(test)
