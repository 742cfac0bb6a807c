"""ETSI GS QKD 004 key streams on real processes: both binary dialects and gRPC.

Each function is one row of the standard's facts or of our checklist, by its own words.
"""
import json
import socket
import ssl
import threading
import time
import uuid

import world
from ks004 import JSON, Binary, Grpc

SOURCE, DESTINATION = "sae-1", "sae-4"  # Two hops apart.

FAR = 100_000  # An index that no stream of these tests comes to.


def ends(demo, first, second):
    return tuple(Grpc(demo, sae) if kind == "gRPC" else Binary(demo, sae, kind)
                 for kind, sae in ((first, SOURCE), (second, DESTINATION)))


def established(a, b, **options):
    status, _, ksid = a.open(SOURCE, DESTINATION, **options)
    # Dialect A has no answer for a stream whose peer has not called yet.
    wanted = 0 if getattr(a, "dialect", "") == "A" else 1
    world.expect(status == wanted and ksid, f"open without an ID: {status}")
    status, _, same = b.open(SOURCE, DESTINATION, ksid=ksid, **options)
    world.expect((status, same) == (0, ksid), f"open by the peer: {status}")
    wait_until_heard(a, ksid)
    return ksid


def wait_until_heard(end, ksid):
    """This end's KME hears a moment after the peer's own that the peer has called."""
    deadline = time.monotonic() + world.AGAIN_WITHIN_S
    while end.get(ksid, FAR)[0] == 3:
        world.expect(time.monotonic() < deadline, "the peer's call is never heard of")
        time.sleep(0.02)


def good(end, ksid, index, room=0):
    status, key, metadata, _ = end.get(ksid, index, room)
    world.expect(status == 0, f"GET_KEY {index}: status {status}")
    return (key, metadata) if room else key


def same_bytes_at_both_ends(demo):
    """Any two forms serve one stream; out of order, with gaps, once at each end."""
    for forms in (("A", "A"), ("B", "B"), ("gRPC", "gRPC"), ("A", "B"), ("B", "gRPC")):
        a, b = ends(demo, *forms)
        ksid = established(a, b)
        seen = set()
        for index in (0, 1, 2, 6, 4, 9):
            key = good(a, ksid, index)
            world.expect(len(key) == 32 and key not in seen, f"{forms}: chunk {index}")
            world.expect(good(b, ksid, index) == key, f"{forms}: chunk {index} differs")
            seen.add(key)
        for end in (a, b):
            status = end.get(ksid, 4)[0]
            world.expect(status == 2, f"{forms}: a chunk read twice: {status}")
        status = a.get(ksid, FAR)[0]
        world.expect(status == 2, f"{forms}: past the end: {status}")
        world.expect((a.close_stream(ksid), b.close_stream(ksid)) == (0, 0), "close")


def also_under_concurrent_get_key(demo):
    a, b = ends(demo, "A", "B")
    ksid = established(a, b)
    got = {SOURCE: {}, DESTINATION: {}}
    failures = []

    def read(sae, dialect, indices):
        try:
            end = Binary(demo, sae, dialect)
            for index in indices:
                got[sae][index] = good(end, ksid, index)
        except Exception as error:  # Told below, on the test's own thread.
            failures.append(error)

    threads = [threading.Thread(target=read, args=(sae, dialect, range(first, 40, 4)))
               for sae, dialect in ((SOURCE, "A"), (DESTINATION, "B")) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.expect(not failures, f"a reader failed: {failures[:1]}")
    world.expect(got[SOURCE] == got[DESTINATION] and len(got[SOURCE]) == 40, "40 equal chunks")
    world.expect(len(set(got[SOURCE].values())) == 40, "40 different chunks")
    # Two of one end ask for one chunk at once: it is read once.
    statuses = []

    def one():
        statuses.append(Binary(demo, SOURCE, "B").get(ksid, 50)[0])

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.expect(sorted(statuses) == [0, 2, 2], f"one chunk asked for three times: {statuses}")


def predefined_blocks_until_the_peer_called(demo):
    for forms in (("A", "B"), ("gRPC", "A")):
        a, b = ends(demo, *forms)
        ksid = str(uuid.uuid4())
        answers = []
        first = threading.Thread(
            target=lambda: answers.append(a.open(SOURCE, DESTINATION, ksid=ksid)))
        first.start()
        world.expect(not answers, "answered before the peer called")
        status, _, told = b.open(SOURCE, DESTINATION, ksid=ksid)
        first.join()
        world.expect((status, told) == (0, ksid), f"the second: {status}")
        world.expect(answers[0][0] == 0, f"the first: {answers}")
        world.expect(good(a, ksid, 0) == good(b, ksid, 0), "chunks")
        # And without the peer: 6 when Timeout has passed.
        began = time.monotonic()
        status = a.open(SOURCE, DESTINATION, ksid=str(uuid.uuid4()), timeout_ms=700)[0]
        took = time.monotonic() - began
        world.expect(status == 6 and took >= 0.7, f"alone: {status} after {took:.1f} s")


def status_codes(demo):
    for form in ("A", "B"):
        a, b = ends(demo, form, form)
        other = Binary(demo, "sae-2", form)
        ksid = established(a, b)
        status = other.open("sae-2", DESTINATION, ksid=ksid)[0]
        world.expect(status == 5, f"an ID of another pair: {status}")
        status = other.open(SOURCE, DESTINATION)[0]
        world.expect(status == 4, f"neither source nor destination: {status}")
        status = other.get(ksid, 0)[0]
        world.expect(status == 3, f"GET_KEY of another pair's stream: {status}")
        status = a.get(str(uuid.uuid4()), 0)[0]
        world.expect(status == 3, f"unknown Key_stream_ID: {status}")
        for uri in ("", "server://", "keyhop://sae/%zz"):
            status = a.open(uri, DESTINATION)[0]
            world.expect(status == 4, f"bad URI {uri!r}: {status}")
        status, _, mine = a.open("server://sae-1:25575", f"keyhop://sae/{DESTINATION}")
        world.expect(status in (0, 1) and mine, f"URIs that name SAEs: {status}")
        status = a.get(mine, 0)[0]
        world.expect(status == 3, f"before the peer called: {status}")
        status = a.open(SOURCE, "nobody")[0]
        world.expect(status == 4, f"unknown application: {status}")
        world.expect(a.close_stream(ksid) == 0 and a.close_stream(ksid) == 0, "close, twice")
        world.expect(b.close_stream(ksid) == 0, "close by the peer")
    one = Grpc(demo, "sae-2")
    for call, what in ((lambda: one.open(SOURCE, DESTINATION), "Unauthorized"),
                       (lambda: one.get(str(uuid.uuid4()), 0), "no such key stream")):
        try:
            answer = call()
            raise world.Failure(f"gRPC answered {answer}")
        except ConnectionError as error:
            world.expect(what in str(error), f"gRPC: {error}")


def qos_is_granted_or_counter_offered(demo):
    a, b = ends(demo, "B", "B")
    status, offered, _ = a.open(SOURCE, DESTINATION, min_bps=4_000_000_000,
                                max_bps=4_000_000_000)
    world.expect(status == 7 and offered["min_bps"] < 4_000_000_000, f"{status} {offered}")
    status, offered, _ = a.open(SOURCE, DESTINATION, chunk_bytes=1_000_000)
    world.expect(status == 7 and offered["chunk_bytes"] == 2048, f"{status} {offered}")
    status, granted, ksid = a.open(SOURCE, DESTINATION, **{
        k: v for k, v in offered.items() if k != "mimetype"})
    world.expect(status == 1 and granted["chunk_bytes"] == 2048, f"the offer taken: {status}")
    world.expect(b.open(SOURCE, DESTINATION, ksid=ksid)[0] == 0, "peer")
    wait_until_heard(a, ksid)
    key = good(a, ksid, 0)
    world.expect(len(key) == 2048 and good(b, ksid, 0) == key, "a chunk of the offered size")
    # Dialect A goes on with a stream that was answered with 7.
    a, b = ends(demo, "A", "A")
    status, granted, ksid = a.open(SOURCE, DESTINATION, chunk_bytes=1_000_000)
    world.expect(status == 7 and granted["chunk_bytes"] == 2048 and ksid, f"{status} {granted}")
    world.expect(b.open(SOURCE, DESTINATION, ksid=ksid)[0] == 0, "peer")
    wait_until_heard(a, ksid)
    world.expect(good(a, ksid, 0) == good(b, ksid, 0), "the stream is open all the same")


def the_minimum_rate_is_reserved(demo):
    """What one stream reserved is not there for the next, until it is closed."""
    a, _ = ends(demo, "B", "B")
    most = 4_000_000_000
    status, offered, _ = a.open(SOURCE, DESTINATION, min_bps=most, max_bps=most)
    rate = offered["min_bps"]
    world.expect(status == 7 and rate > 0, f"what is there: {status} {offered}")
    part = rate * 6 // 10
    status, _, first = a.open(SOURCE, DESTINATION, min_bps=part, max_bps=part)
    world.expect(status == 1, f"six tenths: {status}")
    status, offered, _ = a.open(SOURCE, DESTINATION, min_bps=part, max_bps=part)
    world.expect(status == 7 and offered["min_bps"] < part, f"six tenths more: {status} {offered}")
    world.expect(a.close_stream(first) == 0, "close")
    status, _, second = a.open(SOURCE, DESTINATION, min_bps=part, max_bps=part)
    world.expect(status == 1, f"after the close: {status}")
    a.close_stream(second)


def max_rate_paces_and_jitter_lets_run_ahead(demo):
    def seconds_for(chunks, **qos):
        a, b = ends(demo, "A", "A")
        ksid = established(a, b, **qos)
        good(a, ksid, 0)
        began = time.monotonic()
        for index in range(1, chunks):
            good(a, ksid, index)
        return time.monotonic() - began

    # 256 bits each at 512 bit/s: two a second.
    took = seconds_for(5, max_bps=512, jitter_bps=0)
    world.expect(took >= 1.9, f"four more chunks at two a second took {took:.2f} s")
    quick = seconds_for(5, max_bps=512, jitter_bps=1024 // 2)
    world.expect(0.9 <= quick < took, f"with a second's jitter {quick:.2f} s, without {took:.2f} s")


def ttl_clears_what_is_left_behind(demo):
    a, b = ends(demo, "A", "B")
    ksid = established(a, b, ttl_seconds=2)
    good(a, ksid, 0)
    time.sleep(4)
    status = b.get(ksid, 0)[0]
    world.expect(status == 2, f"a chunk past its TTL: {status}")
    index = next(i for i in range(1, 40) if a.get(ksid, i)[0] == 0)
    world.expect(b.get(ksid, index)[0] == 0, "the stream goes on")


def status_8_consumes_nothing(demo):
    for forms in (("A", "B"), ("gRPC", "gRPC")):
        a, b = ends(demo, *forms)
        ksid = established(a, b, mimetype=JSON)
        status, key, _, needed = a.get(ksid, 0, 3)
        world.expect((status, key) == (8, b"") and needed > 3, f"too small: {status} {needed}")
        key, metadata = good(a, ksid, 0, needed)
        facts = json.loads(metadata)
        world.expect(facts["hops"] == 1 and 0 <= facts["age"] < 60_000, f"metadata {facts}")
        world.expect(good(b, ksid, 0) == key, "the retry yields the same key")


def streams_of_an_sae_are_limited(demo):
    end = Binary(demo, "sae-3", "B")
    opened = []
    while len(opened) <= 40:
        status, _, ksid = end.open("sae-3", "sae-2")
        if status != 1:
            break
        opened.append(ksid)
    world.expect(len(opened) == 32 and status == 4, f"{len(opened)} streams, then {status}")
    world.expect(Binary(demo, "sae-5", "B").open("sae-5", "sae-2")[0] == 1, "others go on")
    for ksid in opened:
        end.close_stream(ksid)


def bad_input_ends_its_connection_only(demo):
    a, b = ends(demo, "A", "B")
    ksid = established(a, b)
    for data in (b"\x09\x09\x09\x02\0\0\0\0", b"\x01\0\x01\x02\xff\xff\xff\xff",
                 b"\x01\0\x01\x04\0\0\0\x02xx", b"GET / HTTP/1.1\r\n\r\n"):
        broken = Binary(demo, SOURCE, "A")
        broken.socket.sendall(data)
        head = broken.read(8)
        world.expect(head[3] == 0, f"an error message for {data!r}: {head.hex()}")
        world.expect(broken.socket.recv(1) == b"", "and the end of the connection")
    host, port = demo.node("n1")["etsi004"].split(":")
    silent = socket.create_connection((host, int(port)))
    context = ssl.create_default_context(cafile=demo.world["ca"])
    try:
        with context.wrap_socket(socket.create_connection((host, int(port)), timeout=10),
                                 server_hostname=host) as anonymous:
            anonymous.sendall(b"\x01\0\x01\x08\0\0\0\x10" + bytes(16))
            world.expect(anonymous.recv(1) == b"", "who shows no certificate gets no answer")
    except (ssl.SSLError, ConnectionError):
        pass
    world.expect(good(a, ksid, 0) == good(b, ksid, 0), "others are served meanwhile")
    silent.close()


def kill_9_of_either_end_and_go_on(demo):
    for node in ("n4", "n1"):
        a, b = ends(demo, "A", "B")
        ksid = established(a, b, ttl_seconds=600)
        zero, one = good(a, ksid, 0), good(b, ksid, 1)
        demo.kill(node)
        demo.restart(node)

        def again(sae, dialect, index):
            """Asks until the node is up and the two have spoken; an answer that was lost with its
            connection may have been given."""
            deadline = time.monotonic() + world.AGAIN_WITHIN_S
            while True:
                try:
                    answer = Binary(demo, sae, dialect).get(ksid, index)
                except world.NO_ANSWER:
                    answer = (None, b"", "", 0)
                if answer[0] in (0, 2) or time.monotonic() > deadline:
                    return answer
                time.sleep(0.2)

        status = again(SOURCE, "A", 0)[0]
        world.expect(status == 2, f"{node}: read before the kill: {status}")
        world.expect(again(DESTINATION, "B", 0)[1] == zero, f"{node}: chunk 0 at the other end")
        world.expect(again(SOURCE, "A", 1)[1] == one, f"{node}: chunk 1 at the other end")
        index, deadline = 20, time.monotonic() + world.AGAIN_WITHIN_S
        while True:
            first, second = again(SOURCE, "A", index), again(DESTINATION, "B", index)
            if first[0] == second[0] == 0:
                break
            world.expect(time.monotonic() < deadline, f"{node}: no new chunk: {first} {second}")
            index += 1
        world.expect(first[1] == second[1] and len(first[1]) == 32, f"{node}: a new chunk")


def main():
    options = world.parse_arguments()
    with world.Demo(options).start() as demo:
        demo.wait_until_up()
        for row in (same_bytes_at_both_ends, also_under_concurrent_get_key,
                    predefined_blocks_until_the_peer_called, status_codes,
                    qos_is_granted_or_counter_offered, the_minimum_rate_is_reserved,
                    max_rate_paces_and_jitter_lets_run_ahead, ttl_clears_what_is_left_behind,
                    status_8_consumes_nothing, streams_of_an_sae_are_limited,
                    bad_input_ends_its_connection_only, kill_9_of_either_end_and_go_on):
            began = time.monotonic()
            row(demo)
            print(f"{row.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        demo.check_alive()


world.main(main)
