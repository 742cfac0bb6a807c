"""What SAEs may draw: a quota of the configuration and one that an operator sets meanwhile refuse over
REST and gRPC, let through again when they said so, and are told. The operator's holds through kill -9;
taken back, the configuration stands again. Nobody else sets one, and what is none is refused."""
import json
import os
import re
import subprocess
import time

import world

NODE = "n4"
CONFIGURED, SET = "sae-4", "sae-6"  # Both at home at NODE.
SLAVE, OTHER_SLAVE = "sae-1", "sae-2"
RATE, BURST_S = 2, 5  # Keys a second.
BURST = RATE * BURST_S
KEY_BITS = 256
CONFIG = f"quotas: [{{sae: {CONFIGURED}, keys_per_second: {RATE}, burst: {BURST_S}s}}]\n"
PAIR = ("quota", "set", SET, "--slave", SLAVE, "--bits-per-second", str(RATE * KEY_BITS), "--burst",
        str(BURST_S))


def row(sae, slave="", keys=0, bits=0, burst=BURST_S, share=1, by_operator=False):
    """As `keyhop quota list` tells it."""
    return {"sae": sae, "slave": slave, "keys_per_second": keys, "bits_per_second": bits,
            "burst_seconds": burst, "share": share, "by_operator": by_operator}


CONFIGURED_ROW = row(CONFIGURED, keys=RATE)
PAIR_ROW = row(SET, SLAVE, bits=RATE * KEY_BITS, by_operator=True)


class Quota:
    """One that gives BURST keys at once and RATE a second, as the SAE under it sees it."""

    def __init__(self, demo, sae, whose, unit, per_s):
        self.whose, self.unit, self.per_s = whose, unit, per_s
        self.fact = "keyhop_pair_quota" if "pair" in whose else "keyhop_quota"
        self.limits = {f"{unit}_per_s": str(per_s), "burst_ms": str(BURST_S * 1000)}
        self.rest = world.Rest(demo, sae)
        self.get = [*world.Cli(demo, sae).argv, "get", SLAVE, "--number"]

    def draw(self, number):
        """(status, body, seconds of Retry-After), over REST"""
        status, body = self.rest.draw(SLAVE, number=number)
        seconds = self.rest.headers["Retry-After"]
        return status, body, seconds and int(seconds)

    def draw_by_grpc(self, number):
        """(exit code, body as REST tells it, seconds until it is to be tried again)"""
        done = subprocess.run([*self.get, str(number)], capture_output=True, text=True, timeout=60)
        wait = re.search(r"Try again in (\d+) ms", done.stderr)
        return done.returncode, json.loads(done.stdout), wait and int(wait[1]) / 1000

    def over(self, draw):
        """(answer, when the burst before it was asked for) of a whole burst behind another one"""
        given_at = None
        for _ in range(20):
            asked = time.monotonic()
            answer = draw(BURST)
            if answer[0] in (200, 0):
                given_at = asked  # A machine that stands still after this has a full bucket again.
            elif given_at is not None:
                return answer, given_at
            else:
                world.expect(answer[2], f"a burst that is not there yet: {answer}")
                time.sleep(answer[2])
        raise world.Failure(f"the quota of {self.whose} gives all that is asked for")

    def left(self):
        """What status says is left of it, or None where it says of no quota."""
        status, body = self.rest.status(SLAVE)
        world.expect(status == 200, f"status: {status} {body}")
        told = body["status_extension"].get(self.fact)
        if told is None:
            return None
        left = int(told.pop(f"{self.unit}_left"))
        world.expect(told == self.limits, f"{self.fact} tells {told}, not {self.limits}")
        return left


def check_refused_until_it_said(quota):
    (status, body, retry_s), asked = quota.over(quota.draw)
    left, gone = quota.left(), time.monotonic() - asked
    world.expect(status == 503, f"over the quota of {quota.whose}: {status} {body}")
    told = {"message": f"the quota of {quota.whose} is used up; retry",
            "details": [{name: value} for name, value in
                        sorted({**quota.limits, "quota": quota.whose}.items())]}
    world.expect(body == told, f"{body}")
    world.expect(left <= quota.per_s * gone, f"{left} {quota.unit} left after {gone} s")
    world.expect(retry_s and 1 <= retry_s <= BURST_S, f"Retry-After: {retry_s}")
    time.sleep(retry_s)
    status, body, _ = quota.draw(BURST)
    world.expect(status == 200 and len(body["keys"]) == BURST, f"when it said: {status} {body}")

    (code, body, retry_s), _ = quota.over(quota.draw_by_grpc)
    world.expect(code == 4 and body == told, f"gRPC: {code} {body}")
    world.expect(retry_s and retry_s <= BURST_S, f"gRPC: {retry_s} s")
    time.sleep(retry_s)
    code, _, _ = quota.draw_by_grpc(BURST)
    world.expect(code == 0, f"gRPC, when it said: {code}")


def check_never_more_than_a_burst(quota):
    status, body, retry_s = quota.draw(BURST + 1)
    world.expect(status == 400 and retry_s is None, f"more than a burst: {status} {body}")
    world.expect(f"more than the quota of {quota.whose} ever gives at once" in body["message"],
                 f"{body}")
    code, refused, _ = quota.draw_by_grpc(BURST + 1)
    world.expect(code == 3 and refused == body, f"gRPC: {code} {refused}")


def check_others_are_free(demo):
    status, body = world.Rest(demo, SET).draw(OTHER_SLAVE, number=2 * BURST)
    world.expect(status == 200, f"another pair is not the quota's: {status} {body}")


def check_errors(demo, operator):
    before = operator.ask(NODE, "quota", "list")
    rows = [
        (3, "no SAE nobody at this node", ("set", "nobody", "--keys-per-second", "1")),
        (3, f"no SAE {SLAVE} at this node", ("set", SLAVE, "--keys-per-second", "1")),
        (3, "no operator's quota", ("reset", "nobody")),
        (3, "no operator's quota", ("reset", CONFIGURED)),
        (3, "same SAE", ("set", SET, "--slave", SET)),
        (3, "* stands for no SAE", ("set", SET, "--slave", "*")),
        (3, "at most 300 bytes", ("set", SET, "--slave", "x" * 301)),
        (3, "at most 10000000000 a second", ("set", SET, "--keys-per-second", "10000000001")),
        (3, "at most 10000000000 a second", ("set", SET, "--bits-per-second", "10000000001")),
        (3, "not a pair's", ("set", SET, "--slave", SLAVE, "--share", "2")),
        (2, "--burst", ("set", SET, "--burst", "3601")),
        (2, "--burst", ("set", SET, "--burst", "0")),
        (2, "--share", ("set", SET, "--share", "0")),
        (2, "--share", ("set", SET, "--share", "1001")),
        (2, "--keys-per-second", ("set", SET, "--keys-per-second", "-1")),
        (2, "--keys-per-second", ("set", SET, "--keys-per-second", "many")),
        (2, "SAE", ("set",)),
    ]
    for code, text, words in rows:
        done = operator.run(NODE, "quota", *words)
        world.expect(done.returncode == code and text in done.stderr,
                     f"{words}: {done.returncode} {done.stdout}{done.stderr}")
    # An SAE, at the address that it shares with operators, and at theirs.
    sae, node = demo.sae(SET), demo.node(NODE)
    for address, code in ((node["grpc"], 3), (node["admin"], 5)):
        for words in (("list",), ("reset", SET, "--slave", SLAVE),
                      ("set", SET, "--keys-per-second", "1000")):
            done = subprocess.run(
                [os.path.join(demo.options.bin, "keyhop"), "--node", address, "--ca",
                 demo.world["ca"], "--cert", sae["cert"], "--key", sae["key"], "--json", "quota",
                 *words], capture_output=True, text=True, timeout=60)
            world.expect(done.returncode == code and '"quotas"' not in done.stdout,
                         f"an SAE at {address}: {words}: {done.returncode} {done.stderr}")
    after = operator.ask(NODE, "quota", "list")
    world.expect(after == before, f"what was refused changed {before} to {after}")


def check_table(operator):
    lines = operator.run(NODE, "quota", "list").stdout.splitlines()
    world.expect(len(lines) == 3 and lines[0].split()[:3] == ["SAE", "FOR", "SLAVE"], f"{lines}")
    for line, sae, by in ((lines[1], CONFIGURED, "configuration"), (lines[2], SET, "an operator")):
        world.expect(line.startswith(sae) and line.rstrip().endswith(by), f"{line}")


def check_share_and_every_sae(demo, operator):
    """A quota of `*` is not of an SAE that has its own; a share alone limits nothing."""
    answer = operator.ask(NODE, "quota", "set", SET, "--share", "3")["quotas"]
    world.expect(answer == [row(SET, burst=10, share=3, by_operator=True)], f"{answer}")
    every = ("*", "--keys-per-second", "1", "--burst", "1")
    operator.ask(NODE, "quota", "set", *every)
    status, body = world.Rest(demo, SET).draw(OTHER_SLAVE, number=BURST)
    world.expect(status == 200, f"its own quota has no limit: {status} {body}")
    extension = world.Rest(demo, SET).status(OTHER_SLAVE)[1]["status_extension"]
    world.expect(extension["keyhop_share"] == 3 and "keyhop_quota" not in extension,
                 f"{extension}")
    operator.ask(NODE, "quota", "reset", SET)
    status, body = world.Rest(demo, SET).draw(OTHER_SLAVE, number=BURST)
    world.expect(status == 400, f"now that of each SAE is in force: {status} {body}")
    left = operator.ask(NODE, "quota", "reset", "*")["quotas"]
    world.expect(left == [], f"none is left there: {left}")


def check_override(operator, quota):
    """An operator's stands in the place of a configured one until it is taken back."""
    answer = operator.ask(NODE, "quota", "set", CONFIGURED, "--keys-per-second", "1000")["quotas"]
    world.expect(answer == [row(CONFIGURED, keys=1000, burst=10, by_operator=True)], f"{answer}")
    # What was left in the bucket stays: it fills at the new rate.
    status, body, retry_s = quota.draw(2 * BURST)
    if status == 503:
        time.sleep(retry_s)
        status, body, _ = quota.draw(2 * BURST)
    world.expect(status == 200, f"under the operator's: {status} {body}")
    answer = operator.ask(NODE, "quota", "reset", CONFIGURED)["quotas"]
    world.expect(answer == [CONFIGURED_ROW], f"taken back: {answer}")
    check_never_more_than_a_burst(quota)


def restart(demo):
    demo.kill(NODE)
    demo.restart(NODE)
    world.wait_until_all_deliver(demo)


def test():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        operator = world.Operator(demo)
        with open(demo.processes[NODE]["argv"][2], "a") as f:
            f.write(CONFIG)
        restart(demo)
        of_config = Quota(demo, CONFIGURED, "this SAE", "keys", RATE)
        of_pair = Quota(demo, SET, "this pair of SAEs", "bits", RATE * KEY_BITS)
        world.expect(of_pair.left() is None, "no quota of the pair is set yet")
        answer = operator.ask(NODE, *PAIR)["quotas"]
        world.expect(answer == [PAIR_ROW], f"set: {answer}")
        for quota in (of_config, of_pair):
            check_never_more_than_a_burst(quota)
            check_refused_until_it_said(quota)
        check_others_are_free(demo)
        check_table(operator)
        check_errors(demo, operator)
        check_share_and_every_sae(demo, operator)

        restart(demo)
        for quota in (of_config, of_pair):
            quota.rest.close()
        listed = operator.ask(NODE, "quota", "list")["quotas"]
        world.expect(listed == [CONFIGURED_ROW, PAIR_ROW], f"after kill -9: {listed}")
        (status, body, _), _ = of_pair.over(of_pair.draw)
        world.expect(status == 503 and of_pair.whose in body["message"], f"{status} {body}")

        check_override(operator, of_config)
        answer = operator.ask(NODE, "quota", "reset", SET, "--slave", SLAVE)["quotas"]
        world.expect(answer == [] and of_pair.left() is None, f"taken back: {answer}")
        status, body, _ = of_pair.draw(2 * BURST)
        world.expect(status == 200, f"without a quota: {status} {body}")
        counted = re.search(r'^keyhop_errors_total\{reason="draws_over_quota"\} (\d+)',
                            world.metrics(demo, demo.node(NODE)), re.M)
        world.expect(counted and int(counted[1]) > 0, "the refusals are not counted")


world.main(test)
