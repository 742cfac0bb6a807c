"""The table for SKIP: what the draft and our checklist say, the requests that show it, and the fault
in the answers that breaks it. `check` raises where an answer is not the wanted one."""
import dataclasses
import re
import signal
import ssl

import world
from world import expect

HEX = re.compile(r"[0-9a-f]+")
ROWS = []


@dataclasses.dataclass
class Row:
    text: str
    check: object
    fault: object  # Changes an Answer.


def row(text, fault):
    def add(check):
        ROWS.append(Row(text, check, fault))
        return check
    return add


# ---- Faults.

def status_is(number):
    def fault(answer):
        answer.status = number
    return fault


def edit(change):
    def fault(answer):
        if answer.status == 200:
            change(answer.body)
    return fault


def drop(name):
    return edit(lambda body: body.pop(name, None))


def upper(body):
    for name in ("key", "keyId"):
        if isinstance(body.get(name), str):
            body[name] = body[name].upper()


def another_key(body):
    if isinstance(body.get("key"), str):
        body["key"] = "00" * 32


# ---- Helpers.

def draw(client, remote="KP_B", more=""):
    answer = client.ask(f"/key?remoteSystemID={remote}{more}")
    expect(answer.status == 200, f"/key: {answer.status} {answer.body}")
    return answer.body["keyId"], answer.body["key"]


def fetch(client, key_id, remote="KP_A"):
    return client.ask(f"/key/{key_id}?remoteSystemID={remote}")


def expect_status(answer, status, what):
    expect(answer.status == status, f"{what}: {answer.status} {answer.body}")


def expect_fetched(client, key_id, key, remote="KP_A"):
    answer = fetch(client, key_id, remote)
    expect_status(answer, 200, "the right one's fetch")
    expect(answer.body == {"keyId": key_id, "key": key}, "both ends got the same key")


def uuid_of(key_id):
    cuts = (0, 8, 12, 16, 20, 32)
    return "-".join(key_id[a:b] for a, b in zip(cuts, cuts[1:]))


# ---- Transport: TLS modes of the draft, on real connections.

def whole_draw(kp, a, b):
    key_id, key = draw(a)
    expect_fetched(b, key_id, key)


for MODE in ("TLS 1.2 DHE-PSK", "TLS 1.2 PSK", "TLS 1.3 PSK"):
    @row(f"a whole draw at A and fetch at B over {MODE} with AES-256-GCM", edit(another_key))
    def check_psk(kp, mode=MODE):
        for _ in range(2):
            key_id, key = draw(kp.psk("A", mode))
            expect(key != "00" * 32, "a key of zeros")
            expect_fetched(kp.psk("B", mode), key_id, key)


@row("a whole draw at A and fetch at B with certificates, TLS 1.2 and 1.3", status_is(401))
def check_certificates(kp):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        whole_draw(kp, kp.certificate("A", version), kp.certificate("B", version))


# ---- Table 2 and the fields.

@row("capabilities have entropy, key, algorithm, localSystemID and remoteSystemID",
     drop("localSystemID"))
def check_capabilities(kp):
    answer = kp.a.ask("/capabilities")
    expect_status(answer, 200, "/capabilities")
    expect(answer.body == {"entropy": True, "key": True, "algorithm": "QKD-relay-OTP",
                           "localSystemID": "KP_A",
                           "remoteSystemID": ["KP_B", "KP_[!AB]*"]}, f"{answer.body}")
    expect(answer.headers["content-type"] == "application/json", f"{answer.headers}")


@row("keyId is 128 bits and key 256 bits, in lower-case hex", edit(upper))
def check_hex(kp):
    key_id, key = draw(kp.a)
    expect(HEX.fullmatch(key_id) and len(key_id) == 32, f"keyId {key_id}")
    expect(HEX.fullmatch(key) and len(key) == 64, f"a key of {len(key)} digits")


@row("keyId is accepted in both cases", status_is(400))
def check_upper_case(kp):
    key_id, key = draw(kp.a)
    answer = fetch(kp.b, key_id.upper())
    expect(answer.status == 200 and answer.body["key"] == key, f"{answer.status}")


@row("size is in bits", edit(another_key))
def check_size(kp):
    for bits in (32, 128, 16384):
        _, key = draw(kp.a, more=f"&size={bits}")
        expect(len(key) == bits // 4, f"size={bits}: {len(key)} digits")
    for bad in ("0", "12", "x", "-8", "16392"):
        answer = kp.a.ask(f"/key?remoteSystemID=KP_B&size={bad}")
        expect_status(answer, 400, f"size={bad}")


# ---- Status codes.

@row("404: a path that is not in the table", status_is(400))
def check_404(kp):
    for path in ("/", "/keys", "/key/1/2", "/api/v1/keys/sae-4/enc_keys"):
        expect_status(kp.a.ask(path), 404, path)


@row("405: a method other than GET", status_is(200))
def check_405(kp):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        for path in ("/capabilities", "/key?remoteSystemID=KP_B", "/entropy"):
            answer = kp.a.ask(path, method)
            expect_status(answer, 405, f"{method} {path}")
            expect(answer.headers["allow"] == "GET", f"{answer.headers}")


@row("400: malformed keyId, or key not found", status_is(404))
def check_400(kp):
    for key_id in ("xyz", "", uuid_of("0" * 32), "0" * 32, "0" * 48, "0"):
        expect_status(fetch(kp.b, key_id), 400, f"keyId {key_id}")


@row("missing or unknown remoteSystemID is 400", status_is(200))
def check_remote_system(kp):
    for query in ("", "?size=256", "?remoteSystemID=", "?remoteSystemID=KP_A",
                  "?remoteSystemID=KP_BB"):
        expect_status(kp.a.ask("/key" + query), 400, f"/key{query}")


@row("a pool that is empty for now is 503 with Retry-After, and is full again later",
     status_is(500))
def check_empty(kp):
    a = kp.certificate("A")
    kp.demo.signal("n4", signal.SIGSTOP)
    try:
        for _ in range(500):
            answer = a.ask("/key?remoteSystemID=KP_B&size=16384")
            if answer.status != 200:
                break
    finally:
        kp.demo.signal("n4", signal.SIGCONT)
    expect_status(answer, 503, "an empty pool")
    expect(int(answer.headers["retry-after"]) >= 1, f"{answer.headers}")
    kp.until_drawn()


# ---- The checklist, by its own words.

@row("encryptor identity = PSK identity or certificate, mapped to one SAE", status_is(400))
def check_identity(kp):
    key_id, key = draw(kp.psk("A"))
    expect_fetched(kp.certificate("B"), key_id, key)
    key_id, key = draw(kp.certificate("A"))
    expect_fetched(kp.psk("B"), key_id, key)
    # sae-2 is trusted and at home elsewhere; sae-5 speaks 014 only.
    for sae in ("sae-2", "sae-5"):
        expect_status(kp.certificate_of(sae, "A").ask("/capabilities"), 401, f"{sae} at A")


@row("remoteSystemID resolved to a peer SAE the caller is allowed to share with", status_is(200))
def check_allowed(kp):
    # KP_X is sae-2, for sae-4 alone.
    answer = kp.b.ask("/key?remoteSystemID=KP_X")
    expect_status(answer, 200, "sae-4 may use KP_X")
    expect_status(kp.c.ask("/key?remoteSystemID=KP_X"), 400, "sae-6 may not")
    drawn = {answer.body["keyId"]: answer.body["key"]}
    status, fetched = world.Rest(kp.demo, "sae-2").fetch(
        "sae-4", [uuid_of(key_id) for key_id in drawn])
    expect(status == 200 and len(fetched["keys"]) == 1, f"sae-2 over 014: {status}")
    # A glob stands for all that it matches; each encryptor has its own name here.
    expect(kp.c.ask("/capabilities").body["localSystemID"] == "KP_C6", "a name of its own")
    key_id, key = draw(kp.a, "KP_C6")
    expect_fetched(kp.c, key_id, key)


@row("a keyId fetched twice -> 400", status_is(200))
def check_twice(kp):
    key_id, key = draw(kp.a)
    expect_fetched(kp.b, key_id, key)
    for _ in range(2):
        expect_status(fetch(kp.b, key_id), 400, "a second fetch")


@row("keyId fetched by another encryptor -> 400, key untouched", status_is(401))
def check_foreign(kp):
    key_id, key = draw(kp.a)
    foreign = fetch(kp.c, key_id)
    expect_status(foreign, 400, "sae-6's fetch of sae-4's key")
    expect_status(fetch(kp.a, key_id, "KP_B"), 400, "the master's own fetch")
    expect(foreign.body == fetch(kp.c, "0" * 32).body, "foreign looks like unknown")
    expect_fetched(kp.b, key_id, key)


@row("keyId fetched with the wrong remoteSystemID -> 400, key untouched", status_is(200))
def check_wrong_remote(kp):
    key_id, key = draw(kp.a)
    for remote in ("KP_X", "KP_B", "KP_Z"):
        expect_status(fetch(kp.b, key_id, remote), 400, f"as of {remote}")
    expect_status(kp.b.ask(f"/key/{key_id}"), 400, "without remoteSystemID")
    expect_fetched(kp.b, key_id, key)


@row("one key per request, never the same key to both 014 and SKIP", status_is(200))
def check_one_front(kp):
    rest_a, rest_b = world.Rest(kp.demo, "sae-1"), world.Rest(kp.demo, "sae-4")
    key_id, key = draw(kp.a)
    expect_fetched(kp.b, key_id, key)
    status, _ = rest_b.fetch("sae-1", [uuid_of(key_id)])
    expect(status == 400, f"given over SKIP, then asked for over 014: {status}")
    status, drawn = rest_a.draw("sae-4")
    expect(status == 200, f"014 draw: {status}")
    key_id = drawn["keys"][0]["key_ID"]
    status, _ = rest_b.fetch("sae-1", [key_id])
    expect(status == 200, f"014 fetch: {status}")
    expect_status(fetch(kp.b, key_id.replace("-", "")), 400, "given over 014, asked for over SKIP")


@row("`algorithm` reports how keys came about, no topology in IDs",
     edit(lambda body: body.update(localSystemID="n1.example")))
def check_topology(kp):
    for client in (kp.a, kp.b, kp.c):
        body = client.ask("/capabilities").body
        expect(body["algorithm"] == "QKD-relay-OTP", f"{body}")
        for text in (body["localSystemID"], *body["remoteSystemID"]):
            expect(not re.search(r"n\d|sae-|127\.", text), f"{text} tells of the network")


@row("entropy only when a true source is configured", edit(lambda body: body.update(
    randomStr="00" * 32, minentropy=256)))
def check_entropy(kp):
    seen = set()
    for query, bits in (("", 256), ("", 256), ("?minentropy=128", 128)):
        answer = kp.until_entropy("/entropy" + query)
        expect(answer.body["minentropy"] == bits, f"{answer.body}")
        expect(HEX.fullmatch(answer.body["randomStr"]), f"{answer.body}")
        expect(len(answer.body["randomStr"]) == bits // 4, f"{answer.body}")
        seen.add(answer.body["randomStr"])
        expect(bytes.fromhex(answer.body["randomStr"]) in kp.entropy_written(), "of the source")
    expect(len(seen) == 3, "random strings repeat")


@row("... else entropy:false and 503", status_is(200))
def check_no_entropy(kp):
    expect(kp.b.ask("/capabilities").body["entropy"] is False, "B has no source")
    expect_status(kp.b.ask("/entropy"), 503, "/entropy at B")
    expect_status(kp.b.ask("/entropy?minentropy=128"), 503, "/entropy at B")
