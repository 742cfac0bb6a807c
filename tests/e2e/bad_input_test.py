"""Bad input gets the standard's error, and nothing else happens."""
import json
import os
import re
import ssl

import certificates
import world

NOT_FOUND = "one or more keys specified are not found on KME"
MULTIPLE = "size shall be a multiple of 8"
UNSUPPORTED = "not all extension_mandatory parameters are supported"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

DRAW = "/api/v1/keys/sae-4/enc_keys"
FETCH = "/api/v1/keys/sae-4/dec_keys"
ANY = None  # The standard has no text of its own: any message.

# (method, path, body, status, message)
REST = [
    ("POST", DRAW, b"{", 400, ANY),
    ("POST", DRAW, b"[]", 400, ANY),
    ("POST", DRAW, b'{"number": 1,}', 400, ANY),
    ("POST", DRAW, b'{"number": 1} x', 400, ANY),
    ("POST", DRAW, b'{number: 1}', 400, ANY),
    ("POST", DRAW, b'{"number": 1, "number": 1}', 400, ANY),
    ("POST", DRAW, b'\xef\xbb\xbf{"number": 1}', 400, ANY),
    ("POST", DRAW, b'{"number": "\xff"}', 400, ANY),
    ("POST", DRAW, b'{"number": "1"}', 400, ANY),
    ("POST", DRAW, b'{"number": 1.5}', 400, ANY),
    ("POST", DRAW, b'{"number": -1}', 400, ANY),
    ("POST", DRAW, b'{"number": 0}', 400, ANY),
    ("POST", DRAW, b'{"number": 129}', 400, ANY),
    ("POST", DRAW, b'{"number": 1e400}', 400, ANY),
    ("POST", DRAW, b'{"number": 18446744073709551617}', 400, ANY),
    ("POST", DRAW, b'{"number": ' + b"9" * 5000 + b"}", 400, ANY),
    ("POST", DRAW, b'{"size": 7}', 400, MULTIPLE),
    ("POST", DRAW, b'{"size": 257}', 400, MULTIPLE),
    ("POST", DRAW, b'{"size": 0}', 400, ANY),
    ("POST", DRAW, b'{"size": 8}', 400, ANY),
    ("POST", DRAW, b'{"size": 1000000}', 400, ANY),
    ("POST", DRAW, b'{"size": [256]}', 400, ANY),
    ("POST", DRAW, b'{"size": true}', 400, ANY),
    ("POST", DRAW, b'{"extension_mandatory": [{"abc_unknown": 1}]}', 400, UNSUPPORTED),
    ("POST", DRAW, b'{"extension_mandatory": {"a": 1}}', 400, ANY),
    ("POST", DRAW, b'{"additional_slave_SAE_IDs": ["sae-4"]}', 400, ANY),
    ("POST", DRAW, b"[" * 5000, 400, ANY),
    ("GET", DRAW + "?size=7", None, 400, MULTIPLE),
    ("GET", DRAW + "?number=abc", None, 400, ANY),
    ("GET", DRAW + "?number=99999999999999999999", None, 400, ANY),
    ("GET", DRAW + "?number=1&number=1", None, 400, ANY),
    ("GET", "/api/v1/keys/sae-99/enc_keys", None, 400, ANY),
    ("GET", "/api/v1/keys/sae-99/status", None, 400, ANY),
    ("GET", "/api/v1/keys/sae-1/enc_keys", None, 400, ANY),
    ("GET", "/api/v1/keys/%ff/enc_keys", None, 400, ANY),
    ("POST", FETCH, b"{}", 400, ANY),
    ("POST", FETCH, b'{"key_IDs": []}', 400, ANY),
    ("POST", FETCH, b'{"key_IDs": "x"}', 400, ANY),
    ("POST", FETCH, b'{"key_IDs": [{"key_ID": 1}]}', 400, ANY),
    ("POST", FETCH, b'{"key_IDs": [{"key_ID": "not a UUID"}]}', 400, ANY),
    ("POST", FETCH, json.dumps({"key_IDs": [{"key_ID": UNKNOWN_ID}]}).encode(), 400, NOT_FOUND),
    ("GET", f"{FETCH}?key_ID={UNKNOWN_ID}", None, 400, NOT_FOUND),
    ("GET", f"/api/v1/keys/sae-99/dec_keys?key_ID={UNKNOWN_ID}", None, 400, NOT_FOUND),
    ("GET", FETCH, None, 400, ANY),
    ("DELETE", DRAW, None, 405, ANY),
    ("GET", "/api/v1/keys/sae-4/other", None, 404, ANY),
    ("GET", "/etc/passwd", None, 404, ANY),
    ("POST", DRAW, b" " * (2 << 20), 413, ANY),
]


def ask(rest, method, path, body):
    try:
        return rest.ask(method, path, body)
    finally:
        rest.close()  # A refusal may end the connection; the next case has its own.


def check_rest(demo):
    rest = world.Rest(demo, "sae-1")
    for method, path, body, status, message in REST:
        what = f"{method} {path} {(body or b'')[:60]!r}"
        try:
            got, answer = ask(rest, method, path, body)
        except world.NO_ANSWER as error:
            # A body over the limit is refused while it is still sent.
            world.expect(status == 413, f"{what}: no answer: {error}")
            continue
        world.expect(got == status, f"{what}: {got} {answer}, not {status}")
        said = answer.get("message")
        world.expect(isinstance(said, str) and said, f"{what}: no message: {answer}")
        world.expect(message in (None, said), f"{what}: '{said}', not '{message}'")


def check_not_named(demo):
    """A key of another SAE of the same home: 401, and it stays for its owner."""
    one, four, six = (world.Rest(demo, s) for s in ("sae-1", "sae-4", "sae-6"))
    status, body = one.draw("sae-4")
    world.expect(status == 200, f"draw: {status} {body}")
    keys = world.keys_of(body)
    status, body = six.fetch("sae-1", list(keys))
    world.expect((status, body) == (401, {"message": "Unauthorized"}), f"not named: {status} {body}")
    # Where no master could have drawn it, the standard's text and 400.
    status, body = world.Rest(demo, "sae-3").fetch("sae-1", list(keys))
    world.expect((status, body.get("message")) == (400, NOT_FOUND), f"elsewhere: {status} {body}")
    status, body = four.fetch("sae-1", list(keys))
    world.expect(status == 200 and world.keys_of(body) == keys, f"the owner: {status} {body}")
    status, body = four.fetch("sae-1", list(keys))
    world.expect((status, body.get("message")) == (400, NOT_FOUND), f"used: {status} {body}")


def bad_certificates(demo, folder):
    """{name: (cert, key)} that no KME may take as an SAE's."""
    node, operator = demo.world["nodes"][1], demo.world["operator"]
    return {**certificates.make_bad(demo, folder)["an SAE"], "a node's": (node["cert"], node["key"]),
            "an operator's": (operator["cert"], operator["key"])}


def check_certificates(demo, bad):
    for name, files in bad.items():
        try:
            status, body = world.Rest(demo, "sae-1", cert=files).status("sae-4")
        except world.NO_ANSWER:
            status = None
        world.expect(status in (None, 401), f"{name} certificate at REST: {status}")
        code, answer = certificates.grpc_call(demo.world, demo.world["nodes"][0]["grpc"],
                            "/keyhop.delivery.v1.KeyDelivery/GetStatus", files, frame(b""))
        world.expect("grpc-status: 0" not in answer, f"{name} certificate at gRPC: {answer}")
        world.expect(code != 0 or "grpc-status: 16" in answer,
                     f"{name} certificate at gRPC: {answer}")
    # No certificate at all.
    context = ssl.create_default_context(cafile=demo.world["ca"])
    rest = world.Rest(demo, "sae-1")
    rest.context = context
    try:
        status, _ = rest.status("sae-4")
    except world.NO_ANSWER:
        status = None
    world.expect(status in (None, 401), f"no certificate at REST: {status}")


def check_the_log(demo):
    """What a newcomer's operator reads: which certificate, which field, what was expected."""
    with open(demo.processes["n1"]["log"], errors="replace") as f:
        log = f.read()
    for line in (
            r"rest: refused: 127\.0\.0\.1:\d+: client certificate \(subject \"CN=sae-1\", issued by "
            r"\"CN=Another CA\", serial .*issuer: expected a CA in .*/sae-ca\.crt "
            r"\(\"CN=Keyhop sae CA,O=Keyhop\"\); found \"CN=Another CA\"",
            r"rest: refused: .*: client certificate \(subject \"CN=sae-1\", .*notAfter: expected a "
            r"time after now, .*; found Jan  1 00:00:00 2021 GMT",
            r"rest: refused: .*\(subject \"CN=demo,O=Keyhop\", issued by \"CN=Keyhop operator CA",
            r"rest: refused: .*: client certificate: expected one issued by a CA in .*none was sent",
            r"grpc: refused: client certificate .*issued by \"CN=Another CA\".*: unable to get local "
            r"issuer certificate: expected one that .*/sae-ca\.crt vouches for",
            # An SAE at Kx, whose trust store does not know it; a module, which it does.
            r"kx: refused: .*keyhop://module/qkd-n1-n2.*"):
        world.expect(re.search(line, log), f"the log of n1 lacks: {line}")


def frame(message):
    """A gRPC message on the wire."""
    return b"\0" + len(message).to_bytes(4, "big") + message


KX = "/keyhop.kx.v1.Kx/Exchange"
KQ1 = "/keyhop.kq1.v1.KeyManagerQ/Attach"
GARBAGE = [b"", b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05ab",
           b"\xff" + os.urandom(3000)]


def check_inner_interfaces(demo):
    sae = demo.sae("sae-1")
    # The lower ID dials: only n1 may speak at n2's Kx, and then its own stream makes way.
    node = demo.node("n1")
    module = os.path.join(demo.run_dir, "pki", "modules", "qkd-n1-n2", "module")
    for listener, method in (("kx", KX), ("kq1", KQ1)):
        code, answer = certificates.grpc_call(demo.world, demo.node("n1")[listener], method,
                                              (sae["cert"], sae["key"]), frame(b""))
        world.expect(code != 0 or ("grpc-status: 16" in answer or "grpc-status: 7" in answer),
                     f"an SAE's certificate at {listener}: {code} {answer}")
        world.expect("grpc-status: 0" not in answer, f"an SAE's certificate at {listener}")
    # Vouched for, and no node.
    code, answer = certificates.grpc_call(demo.world, demo.node("n1")["kx"], KX,
                                          (f"{module}.crt", f"{module}.key"), frame(b""))
    world.expect(code != 0 or "grpc-status: 16" in answer, f"a module at Kx: {code} {answer}")
    good = {"kx": (node["cert"], node["key"]), "kq1": (f"{module}.crt", f"{module}.key")}
    for listener, method in (("kx", KX), ("kq1", KQ1)):
        for garbage in GARBAGE:
            for body in (frame(garbage), frame(garbage)[:-1], frame(garbage)[:5], garbage):
                _, answer = certificates.grpc_call(demo.world, demo.node("n2")[listener], method,
                                                   good[listener], body, seconds=3)
                # What is no gRPC message at all is gRPC's own to refuse.
                status = "\\d+" if body and body[0] else "3"
                said = re.search(f"grpc-status: ({status})\\s", answer)
                world.expect(said and said[1] != "0",
                             f"garbage at {listener}: {answer} for {body[:20]!r}")


def keys_delivered(demo):
    """(drawn, fetched) at all nodes."""
    sums = [0, 0]
    for node in demo.world["nodes"]:
        text = world.metrics(demo, node)
        for i, name in enumerate(("keyhop_keys_drawn_total", "keyhop_keys_fetched_total")):
            found = re.search(rf"^{name} (\S+)$", text, re.M)
            sums[i] += float(found[1]) if found else 0
    return tuple(sums)


def count(text, metric):
    found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.M)
    return float(found[1]) if found else 0


def check_metrics(demo):
    """What an operator reads: who was refused how often, and why."""
    text = world.metrics(demo, demo.node("n1"))
    for metric, least in (('keyhop_rest_answers_total{code="400"}', 40),
                          ('keyhop_rest_answers_total{code="404"}', 2),
                          ('keyhop_rest_answers_total{code="413"}', 1),
                          ('keyhop_refusals_total{reason="bad_request",request="draw"}', 1),
                          ('keyhop_refusals_total{reason="not_found",request="fetch"}', 3),
                          ('keyhop_refusals_total{reason="bad_request",request="status"}', 1),
                          ('keyhop_errors_total{reason="handshakes_refused_rest"}', 3),
                          ('keyhop_errors_total{reason="handshakes_refused_grpc"}', 3),
                          ('keyhop_errors_total{reason="handshakes_refused_kx"}', 1)):
        world.expect(count(text, metric) >= least, f"{metric}: {count(text, metric)} in n1")


def test():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        pids = {name: p["pid"] for name, p in demo.processes.items()}
        before = world.Rest(demo, "sae-1").status("sae-4")[1]["stored_key_count"]
        world.expect(before >= 200, f"{before} keys at hand")
        delivered = keys_delivered(demo)
        check_rest(demo)
        world.expect(keys_delivered(demo) == delivered, "bad requests took keys")
        check_not_named(demo)
        check_certificates(demo, bad_certificates(demo, os.path.join(options.work, "bad")))
        check_inner_interfaces(demo)
        drawn, fetched = delivered
        world.expect(keys_delivered(demo) == (drawn + 1, fetched + 1),
                     "something was delivered beside the one good key")
        check_the_log(demo)
        check_metrics(demo)
        demo.check_alive()
        world.expect(pids == {n: p["pid"] for n, p in demo.processes.items()}, "a process went")
        world.wait_until_all_deliver(demo)
        print(f"{len(REST)} REST requests, {len(GARBAGE) * 8} broken messages refused")


world.main(test)
