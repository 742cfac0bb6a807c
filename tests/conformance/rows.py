"""The table: clause, what it says, the request with the answer it wants, and the fault that breaks it.

`check` raises where the answer is not the wanted one. Sources: ETSI GS QKD 014 V1.1.1 by clause, and
"clients": our decisions where clients and the standard disagree (docs/rest.md).
"""
import base64
import dataclasses
import json
import uuid

import world
from proxy import Fault

NOT_FOUND = "one or more keys specified are not found on KME"
MULTIPLE = "size shall be a multiple of 8"
UNSUPPORTED = "not all extension_mandatory parameters are supported"
UNMET = "not all extension_mandatory request options could be met"
ENC = "/api/v1/keys/sae-4/enc_keys"
DEC = "/api/v1/keys/sae-1/dec_keys"
STATUS = "/api/v1/keys/sae-4/status"
UNKNOWN = "00000000-0000-4000-8000-000000000000"

GET = f"GET {ENC} HTTP/1.1\r\nHost: kme\r\n\r\n".encode()

ROWS = []


@dataclasses.dataclass
class Row:
    clause: str
    text: str
    check: object
    fault: Fault


def row(clause, text, fault):
    def add(check):
        ROWS.append(Row(clause, text, check, fault))
        return check
    return add


# ---- Faults.

def status_is(number):
    def answer(_, a):
        a.status = number
    return Fault(answer=answer)


def edit(change):
    """Changes the JSON of the answer."""
    def answer(_, a):
        value = a.json()
        change(value)
        a.set_json(value)
    return Fault(answer=answer)


def says(message):
    return edit(lambda body: body.update(message=message))


def sends(change):
    return Fault(request=change)


def without(header):
    def answer(_, a):
        a.headers = [(n, v) for n, v in a.headers if n.lower() != header]
    return Fault(answer=answer)


def canned(status, body=b'{"message":"x"}', more=""):
    return Fault(canned=f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() +
                 body)


def drops_query(request):
    request.target = request.target.split("?")[0]


def drops_body(request):
    if request.method == "POST":
        request.body = b"{}"


# ---- Plain rows: one request, one answer.

def refused(clause, text, method, path, body=None, status=400, message=None, headers=None, fault=None):
    """`message`: None for any text, as the standard has none."""
    def check(kme):
        got = kme.ask(method, path, body, headers=headers)
        world.expect(got.status == status, f"{got.status} {got.body[:200]}, not {status}")
        if method == "HEAD":
            return
        said = got.json().get("message")
        world.expect(isinstance(said, str) and said, f"no message: {got.body}")
        world.expect(message in (None, said), f"'{said}', not '{message}'")
        world.expect(got.headers["content-type"] == "application/json", "no application/json")
    ROWS.append(Row(clause, text, check, fault or (says("no") if message else status_is(200))))


def served(clause, text, method, path, body=None, count=1, bits=256, headers=None, fault=None):
    def check(kme):
        got = kme.ask(method, path, body, headers=headers)
        world.expect(got.status == 200, f"{got.status} {got.body[:200]}")
        keys = kme.container(got)
        world.expect(len(keys) == count, f"{len(keys)} keys, not {count}")
        world.expect(all(len(k) * 8 == bits for k in keys.values()), f"keys are not of {bits} bits")
    ROWS.append(Row(clause, text, check, fault or status_is(400)))


def one_key_less(body):
    body["keys"].pop()


def shorter_keys(body):
    for entry in body["keys"]:
        entry["key"] = base64.b64encode(base64.b64decode(entry["key"])[:-1]).decode()


served("T10", "defaults: GET bare gives 1 key of key_size", "GET", ENC, fault=edit(shorter_keys))
served("T10", "defaults: POST {} gives 1 key of key_size", "POST", ENC, {}, fault=edit(one_key_less))
served("T10", "defaults: POST empty", "POST", ENC, b"", headers={})
served("clients", "POST enc_keys without body or Content-Type: 200 with defaults", "POST", ENC,
       headers={})
served("T10 6.2", "number and size, POST", "POST", ENC, {"number": 3, "size": 512}, 3, 512,
       fault=sends(drops_body))
served("T10 6.2", "number and size, GET equals POST", "GET", ENC + "?number=3&size=512", None, 3, 512,
       fault=sends(drops_query))
served("clients", "size 32", "POST", ENC, {"size": 32}, 1, 32)
served("clients", "size 16,384", "POST", ENC, {"size": 16384}, 1, 16384, fault=edit(shorter_keys))
served("clients", "explicit null for an optional member: absent", "POST", ENC,
       {"number": None, "size": None, "additional_slave_SAE_IDs": None, "extension_mandatory": None,
        "extension_optional": None})
served("clients", "unknown top-level members: ignored", "POST", ENC, {"additional_target_sae_ids": []})
served("6.2", "extension_optional unknown: 200", "POST", ENC,
       {"extension_optional": [{"abc_max_age": 30000}]})
served("6.2", "an extension that is met", "POST", ENC,
       {"extension_mandatory": [{"keyhop_deadline_ms": 9000}]})
served("5.1", "host name may have a port; URL-encoding of plain letters too", "GET",
       "/api/v1/keys/%73ae-4/enc_keys")
served("clients", "extra members in key objects: none", "GET", ENC,
       fault=edit(lambda b: b["keys"][0].update(extra=1)))

refused("6.2", "size % 8, POST", "POST", ENC, {"size": 7}, message=MULTIPLE)
refused("6.2", "size % 8, GET", "GET", ENC + "?size=257", message=MULTIPLE)
for what, body in [
        ("number 0", {"number": 0}), ("number negative", {"number": -1}),
        ("number above max", {"number": 129}), ("size below min", {"size": 24}),
        ("size above max", {"size": 16392}), ("number is a string", {"number": "1"}),
        ("number is a fraction", {"number": 1.5}), ("size is a list", {"size": [256]}),
        ("duplicate members", b'{"number":1,"number":1}'), ("trailing data", b"{} {}"),
        ("no JSON", b"{number:1}"), ("no object", b"[]"), ("no UTF-8", b'{"x":"\xff"}')]:
    refused("T9", f"limits: {what}", "POST", ENC, body)
refused("6.2", "extensions: mandatory unknown", "POST", ENC,
        {"extension_mandatory": [{"abc_route_type": "direct"}]}, message=UNSUPPORTED)
for name in ("keyhop_route_type", "keyhop_excluded_nodes", "keyhop_age_max"):
    refused("6.2", f"extensions: mandatory unmeetable: {name}", "POST", ENC,
            {"extension_mandatory": [{name: 1}]}, message=UNMET)
for what, ids in [("empty list", []), ("duplicate", ["sae-6", "sae-6"]), ("blank", [" "]),
                  ("unknown", ["sae-99"]), ("equal to master", ["sae-1"]), ("the slave", ["sae-4"]),
                  ("over the limit", [f"x{i}" for i in range(200)])]:
    refused("T10", f"additional slaves: {what}", "POST", ENC, {"additional_slave_SAE_IDs": ids})
refused("clients", "slave = master", "GET", "/api/v1/keys/sae-1/enc_keys")
refused("5.1", "unknown slave", "GET", "/api/v1/keys/sae-99/enc_keys")
refused("5.2", "GET with what only a POST may ask for", "GET", ENC + "?extension_mandatory=x")
refused("5.2", "GET with a body", "GET", ENC, {"number": 2})
refused("5.2", "POST with a query", "POST", ENC + "?number=2", {})
refused("6.4", "POST zero IDs", "POST", DEC, {"key_IDs": []})
refused("6.4", "malformed ID", "POST", DEC, {"key_IDs": [{"key_ID": "x"}]})
refused("6.4", "unknown ID", "POST", "/api/v1/keys/sae-4/dec_keys", {"key_IDs": [{"key_ID": UNKNOWN}]},
        message=NOT_FOUND)
refused("6.4", "POST duplicate IDs", "POST", DEC, {"key_IDs": [{"key_ID": UNKNOWN}] * 2})
refused("T2", "wrong path", "GET", "/api/v1/keys/sae-4/other", status=404)
refused("T2", "wrong path of another edition", "POST", "/kdapi/v2/keys", {}, status=404)
refused("T2", "wrong verb of status", "POST", STATUS, {}, status=405, fault=status_is(404))
refused("T2", "wrong verb draws no key", "DELETE", ENC, status=405)
refused("T2", "HEAD draws no key", "HEAD", ENC, status=405)
refused("T2", "an ID that is not URL-encoded UTF-8", "GET", "/api/v1/keys/%ff/enc_keys")
refused("T1", "a body that says it is no JSON", "POST", ENC, b"<x/>", status=415,
        headers={"Content-Type": "text/xml"})


@row("clients", "key_IDs as bare strings: 400 that shows the right shape", says("bad"))
def _(kme):
    got = kme.ask("POST", DEC, {"key_IDs": [UNKNOWN]}, "sae-4")
    world.expect(got.status == 400 and '{"key_IDs": [{"key_ID": "UUID"}]}' in got.json()["message"],
                 f"{got.status} {got.body}")


@row("T4", "details are objects", edit(lambda b: b.update(details=["text"])))
def _(kme):
    got = kme.draw(extension_mandatory=[{"abc_x": 1}]).json()
    world.expect(got["details"] == [{"extension_mandatory_unsupported": "abc_x is not supported"}],
                 f"{got}")


@row("T2", "405 tells the verbs", without("allow"))
def _(kme):
    got = kme.ask("PUT", ENC, {})
    world.expect((got.status, got.headers.get("allow")) == (405, "GET, POST, OPTIONS"), f"{got.headers}")


# ---- Status.

@row("T9", "11 Status fields, types, relations", edit(lambda b: b.update(stored_key_count="1")))
def _(kme):
    body = kme.ask("GET", STATUS).json()
    texts = {"source_KME_ID": "n1", "target_KME_ID": "n4", "master_SAE_ID": "sae-1",
             "slave_SAE_ID": "sae-4"}
    numbers = ["key_size", "stored_key_count", "max_key_count", "max_key_per_request", "max_key_size",
               "min_key_size", "max_SAE_ID_count"]
    world.expect(set(body) - {"status_extension"} == set(texts) | set(numbers), f"{sorted(body)}")
    world.expect({n: body[n] for n in texts} == texts, f"{body}")
    world.expect(all(type(body[n]) is int and body[n] >= 0 for n in numbers), f"{body}")
    world.expect(body["stored_key_count"] <= body["max_key_count"], f"{body}")
    world.expect(body["min_key_size"] <= body["key_size"] <= body["max_key_size"], f"{body}")


@row("5.2", "status is free of effects: twice without traffic, equal",
     sends(lambda r: setattr(r, "target", r.target.replace("/status", "/enc_keys"))))
def _(kme):
    first, second = (kme.ask("GET", STATUS).json() for _ in range(2))
    world.expect({k: v for k, v in first.items() if k != "status_extension"} ==
                 {k: v for k, v in second.items() if k != "status_extension"}, f"{first} {second}")
    world.expect("source_KME_ID" in first, f"no status: {first}")


@row("T9", "status_extension tells rate, limits and extensions",
     edit(lambda b: b.pop("status_extension")))
def _(kme):
    told = kme.ask("GET", STATUS).json()["status_extension"]
    for name in ("keyhop_stored_bits", "keyhop_pool_bits", "keyhop_refill_bits_per_s",
                 "keyhop_deadline_ms_max"):
        world.expect(type(told[name]) is int, f"{name}: {told}")
    world.expect(told["keyhop_extensions"]["keyhop_deadline_ms"] == "supported", f"{told}")


@row("T9", "announced is enforced: max_key_per_request",
     edit(lambda b: b.update(max_key_per_request=b.get("max_key_per_request", 0) + 1)))
def _(kme):
    most = kme.ask("GET", STATUS).json()["max_key_per_request"]
    world.expect(kme.draw(number=most + 1).status == 400, "one more was not refused")
    got = kme.draw(number=most, size=32)
    world.expect(got.status == 200 and len(kme.container(got)) == most, f"{got.status} {got.body[:99]}")


@row("clients", "a pair at one home: local random key, said so in status_extension",
     edit(lambda b: b["status_extension"].update(keyhop_key_origin="QKD")))
def _(kme):
    told = kme.ask("GET", "/api/v1/keys/sae-6/status", sae="sae-4").json()["status_extension"]
    world.expect(told["keyhop_key_origin"].startswith("local random"), f"{told}")


@row("T2", "HEAD of status is GET without body", status_is(405))
def _(kme):
    got = kme.ask("HEAD", STATUS)
    world.expect((got.status, got.body) == (200, b""), f"{got.status}")


# ---- Keys.

@row("5.3", "removal at master: no key_ID or key bytes ever twice",
     Fault(answer=lambda r, a: a.set_json({"keys": [{"key_ID": "6fb85d76-501a-45c1-b423-72d34a7fc1bd",
                                                     "key": base64.b64encode(b"k" * 32).decode()}]})))
def _(kme):
    seen = [kme.drawn() for _ in range(5)]
    world.expect(len({i for keys in seen for i in keys}) == 5, "a key_ID came twice")
    world.expect(len({k for keys in seen for k in keys.values()}) == 5, "a key came twice")


@row("5.4", "agreement: dec_keys gives the same keys under the same IDs, once each",
     Fault(answer=lambda r, a: flip_fetched(r, a)))
def _(kme):
    keys = kme.drawn(number=4)
    got = kme.fetch(list(keys))
    world.expect(got.status == 200 and kme.container(got) == keys, "other keys at the slave")
    again = kme.fetch(list(keys))
    world.expect((again.status, again.json().get("message")) == (400, NOT_FOUND),
                 f"fetched twice: {again.status}")


def flip_fetched(request, answer):
    if request.target.endswith("dec_keys") and answer.status == 200:
        body = answer.json()
        first = body["keys"][0]
        first["key"] = base64.b64encode(bytes(len(base64.b64decode(first["key"])))).decode()
        answer.set_json(body)


def serves_again(request, answer):
    """Remembers what was fetched and says it once more."""
    if answer.status == 200 and "dec_keys" in request.target:
        serves_again.kept = answer.body
    elif "dec_keys" in request.target and UNKNOWN.encode() not in request.body:
        answer.status, answer.body = 200, serves_again.kept


@row("5.4", "a used ID looks like an unknown one", Fault(answer=serves_again))
def _(kme):
    keys = kme.drawn()
    world.expect(kme.fetch(list(keys)).status == 200, "fetch")
    used, unknown = kme.fetch(list(keys)), kme.fetch([UNKNOWN])
    world.expect((used.status, used.body) == (unknown.status, unknown.body) and
                 unknown.status == 400, f"{used.body}")


def as_slave(request, sae):
    return "sae-4" if "dec_keys" in request.target else sae


@row("5.4", "foreign caller, mixed batch: 401, the keys remain for the right slave",
     Fault(act_as=as_slave))
def _(kme):
    mine, other = kme.drawn(), kme.drawn(slave="sae-6")
    for ids in (list(mine), list(mine) + list(other)):
        got = kme.fetch(ids, "sae-6")
        world.expect((got.status, got.json()) == (401, {"message": "Unauthorized"}), f"{got.body}")
    world.expect(kme.container(kme.fetch(list(mine))) == mine, "spoilt for the right slave")
    world.expect(kme.container(kme.fetch(list(other), "sae-6")) == other, "spoilt for the right slave")


@row("5.4", "the master itself, and at another KME: 400, the exact text", Fault(act_as=as_slave))
def _(kme):
    keys = kme.drawn()
    for sae in ("sae-1", "sae-3"):
        got = kme.fetch(list(keys), sae)
        world.expect((got.status, got.json().get("message")) == (400, NOT_FOUND), f"{sae}: {got.body}")
    world.expect(kme.container(kme.fetch(list(keys))) == keys, "spoilt for the right slave")


@row("5.4", "wrong master in the URL: not found",
     sends(lambda r: setattr(r, "target", r.target.replace("sae-2/dec", "sae-1/dec"))))
def _(kme):
    keys = kme.drawn()
    got = kme.fetch(list(keys), master="sae-2")
    world.expect((got.status, got.json().get("message")) == (400, NOT_FOUND), f"{got.body}")


def drops_unknown(request):
    request.body = request.body.replace(f', {{"key_ID": "{UNKNOWN}"}}'.encode(), b"")


@row("6.4", "a batch with one unknown ID: exact message, the others still fetchable",
     sends(drops_unknown))
def _(kme):
    keys = kme.drawn(number=2)
    got = kme.fetch([*keys, UNKNOWN])
    world.expect((got.status, got.json().get("message")) == (400, NOT_FOUND), f"{got.status}")
    world.expect(kme.container(kme.fetch(list(keys))) == keys, "the others are gone")


@row("6.4", "GET one ID: 200; upper-case UUID is the same key", status_is(400))
def _(kme):
    keys = kme.drawn()
    got = kme.ask("GET", f"{DEC}?key_ID={list(keys)[0].upper()}", sae="sae-4")
    world.expect(got.status == 200 and kme.container(got) == keys, f"{got.status} {got.body}")


@row("6.4", "GET two IDs: 400",
     sends(lambda r: setattr(r, "target", r.target.split("&")[0])))
def _(kme):
    ids = list(kme.drawn(number=2))
    got = kme.ask("GET", f"{DEC}?key_ID={ids[0]}&key_ID={ids[1]}", sae="sae-4")
    world.expect(got.status == 400, f"{got.status}")


@row("T11", "UUID, base64 with padding",
     edit(lambda b: b["keys"][0].update(key=b["keys"][0]["key"].rstrip("="))))
def _(kme):
    for key_id, key in kme.drawn(number=20, size=256).items():
        world.expect(str(uuid.UUID(key_id)) == key_id and len(key) == 32, f"{key_id}")


@row("T6", "more than there is: 503, Retry-After, bits asked and at hand; it is there soon after",
     without("retry-after"))
def _(kme):
    got = kme.draw(number=128, size=16384, extension_mandatory=[{"keyhop_deadline_ms": 0}])
    world.expect(got.status == 503, f"{got.status} {got.body[:200]}")
    world.expect(int(got.headers["retry-after"]) >= 1, "Retry-After")
    details = {k: v for d in got.json()["details"] for k, v in d.items()}
    world.expect(details["bits_asked"] == str(128 * 16384) and "bits_at_hand" in details, f"{details}")
    got = kme.draw(number=128, size=16384, extension_mandatory=[{"keyhop_deadline_ms": 20000}])
    world.expect(got.status == 200 and len(kme.container(got)) == 128, f"{got.status}")


@row("6.5", "Error leaks nothing: no foreign IDs, no key bytes",
     edit(lambda b: b.update(message=b["message"] + " sae-6")))
def _(kme):
    for got in (kme.fetch([UNKNOWN]), kme.ask("GET", "/api/v1/keys/sae-99/status"), kme.draw(number=0)):
        text = got.body.decode()
        world.expect(got.status == 400 and not any(f"sae-{i}" in text for i in range(1, 100)), text)


@row("T1", "JSON, UTF-8, application/json: every body of 200, 400, 503",
     Fault(answer=lambda r, a: setattr(a, "headers", [("Content-Type", "text/html")])))
def _(kme):
    for got in (kme.ask("GET", STATUS), kme.draw(number=0), kme.draw(),
                kme.draw(number=128, size=16384, extension_mandatory=[{"keyhop_deadline_ms": 0}])):
        got.body.decode("utf-8")
        world.expect(isinstance(got.json(), dict), "no object")
        world.expect(got.headers["content-type"] == "application/json", f"{got.headers}")
