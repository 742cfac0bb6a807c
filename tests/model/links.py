"""The two ends of one link as the code has them (trusted_node/core/link): pads.py with the code's session messages.

One kind of hello, which echoes and says whether the sender's session is open; whatever an end says of another session makes the
other end say hello; one lease request a direction is under way, numbered, repeated, its answer kept; numbers grow through all
sessions of a start. Every output names the write that it waits for (`gate`: disks are slow, a batch may be synced in parts, a crash
loses the rest and what waits for it); a frame waits for the record of its lease only, so it may pass what waits for later writes.

The network is a set that never forgets. To keep the graph small one hello is sent for each sender, pair of incarnations and
open flag, and one need for each end and session: later ones are as if lost. One book; every pad exists at both ends from the start.
"""
from collections import namedtuple
from engine import explore, show

NAME, E = "AB", frozenset()
# Of each end, (A, B): disk and mem are the durable mark and the one in memory; out is what waits: (end, mark to be durable, message).
S = namedtuple("S", "disk mem image inc peer heard send recv pend num ans out net uses took crashes restores closes fresh")


def put(t, i, v):
    return t[:i] + (v,) + t[i + 1:]


class Link:
    def __init__(self, units=2, crashes=1, restores=(0, 0), closes=0, gate=False, ungated=(), numbers="start", go_back=False, opened=False,
                 needs=True, join=False):
        """ungated: kinds of output that wait for nothing. numbers: "start", or "session": they begin anew with each session.
        go_back: a session may replace an open one under the same incarnation. opened: begins with an open session, whose hellos the
        network has. needs: the ends say them. join: the two hellos are one step, and no other messages of the session are sent."""
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})
        self.healed = {}

    def initial(self):
        two = (E, E)
        first = S((0, 0), (0, 0), (None, None), (1, 2), (0, 0), (0, 0), two, two, (None, None), (0, 0), (None, None), E, E,
                 (0,) * self.units, (0,) * self.units, self.crashes, self.restores, self.closes, 3)
        return self.open_it(first) if self.opened else first

    def open_it(self, s):
        s = self.say_hello(s, 0, 0)
        for _ in range(3):
            m = max(s.net, key=lambda x: (x[3] != 0, x[4]))
            s = self.deliver(s, 1 - m[1], m)
        return s

    def sess(self, s, e):
        return (s.inc[0], s.peer[0]) if e == 0 else (s.peer[1], s.inc[1])

    def one_session(self, s):
        return s.peer[0] and s.peer[1] and self.sess(s, 0) == self.sess(s, 1)

    def bad(self, s):
        for u in range(len(s.uses)):
            if s.uses[u] > 1:
                return f"pad {u} protects two different messages (G3)"
            if s.took[u] > 1:
                return f"the frame under pad {u} is accepted twice (G6)"
        if self.one_session(s):
            for e in (0, 1):
                under_way = {s.pend[1]} if e == 1 else E  # Granted; the answer is on its way or lost.
                if not {x[:2] for x in s.send[e]} <= s.recv[1 - e] | under_way:
                    return f"{NAME[e]} goes on under a lease of this session that {NAME[1 - e]} has burnt (G4)"

    # -- Outputs and writes
    def emit(self, s, e, m, after=None):
        """Leaves once the mark `after` is durable here; by default the one in memory, as every record came before it."""
        if m[0] == "hello" and any(x[:5] == m[:5] for x in s.net) or m[0] == "need" and any(x[:3] == m[:3] for x in s.net):
            return s
        if self.join and m[0] in ("hello", "need"):
            return s
        after = s.mem[e] if after is None else after
        if not self.gate or m[0] in self.ungated or after <= s.disk[e]:
            return self.leave(s, m)
        return s._replace(out=s.out | {(e, after, m)})

    def leave(self, s, m):
        if m[0] == "frame":
            s = s._replace(uses=put(s.uses, m[4], min(2, s.uses[m[4]] + 1)))
        return s._replace(net=s.net | {m})

    def sync(self, s, e, mark):
        s = s._replace(disk=put(s.disk, e, mark))
        for x in s.out:
            if x[0] == e and x[1] <= mark:
                s = self.leave(s._replace(out=s.out - {x}), x[2])
        return s

    def raise_mark(self, s, e, mark):
        s = s._replace(mem=put(s.mem, e, max(s.mem[e], mark)))
        return s if self.gate else s._replace(disk=s.mem)

    # -- Sessions
    def burn_leases(self, s, e):
        s = s._replace(send=put(s.send, e, E), recv=put(s.recv, e, E))
        s = s._replace(pend=(None, None)) if e == 0 else s._replace(ans=(None, None))
        return s._replace(num=(0, 0)) if e == 0 and self.numbers == "session" else s

    def told(self, s, e, to):
        """What this incarnation of the peer did not confirm yet it does not use: it is not told as used."""
        under_way = [p[1] for p in s.pend if p] if e == 0 and s.peer[0] and to == s.peer[0] else []
        return min([s.mem[e]] + under_way)

    def say_hello(self, s, e, echo):
        is_open = s.peer[e] != 0 and echo == s.peer[e]
        return self.emit(s, e, ("hello", e, s.inc[e], echo, is_open, self.told(s, e, echo)))

    def other_session(self, s, e, ses):
        return self.say_hello(s, e, ses[1 - e])

    def on_hello(self, s, e, m):
        _, _, own, echo, is_open, mark = m
        s = s._replace(heard=put(s.heard, e, own))
        fresh = echo == s.inc[e]
        if fresh and s.peer[e] and s.peer[e] != own and not self.go_back:
            return self.close(s, e)
        if fresh:
            if s.peer[e] != own:
                s = self.burn_leases(s, e)._replace(peer=put(s.peer, e, own))
            s = self.raise_mark(s, e, mark)
        return s if fresh and is_open else self.say_hello(s, e, own)

    def connect(self, s):
        """The hellos of both ends as one step: they say what is durable, and all before them is."""
        told = (self.told(s, 0, s.inc[1]), self.told(s, 1, s.inc[0]))
        for e in (0, 1):
            if s.peer[e] != s.inc[1 - e]:
                s = self.burn_leases(s, e)._replace(peer=put(s.peer, e, s.inc[1 - e]))
            s = self.raise_mark(s, e, told[1 - e])
        return s

    def close(self, s, e):
        """New random bits: whatever the peer said under the old ones is not fresh any more."""
        s = self.burn_leases(s, e)
        s = s._replace(inc=put(s.inc, e, s.fresh), fresh=s.fresh + 1, peer=put(s.peer, e, 0))
        return self.say_hello(s, e, s.heard[e])

    def start(self, s, e):
        return s._replace(inc=put(s.inc, e, s.fresh), fresh=s.fresh + 1)

    def crash(self, s, e):
        s = self.burn_leases(s, e)._replace(inc=put(s.inc, e, 0), peer=put(s.peer, e, 0), heard=put(s.heard, e, 0))
        s = s._replace(mem=put(s.mem, e, s.disk[e]), out=frozenset(x for x in s.out if x[0] != e))
        return self.prune(s._replace(num=(0, 0)) if e == 0 else s)

    def prune(self, s):
        """Forgets messages that no later state can use: they name an incarnation of their receiver that is gone."""
        def alive(m):
            to = 1 - m[1]
            if m[0] == "hello":
                return not m[3] or m[3] == s.inc[to]
            return m[2][to] == s.inc[to]
        return s._replace(net=frozenset(filter(alive, s.net)))

    # -- Leases
    def lease(self, s, d):
        u, number = s.mem[0], s.num[d] + 1
        s = self.raise_mark(s, 0, u + 1)._replace(num=put(s.num, d, number), pend=put(s.pend, d, (number, u)))
        return self.emit(s, 0, ("lease", 0, self.sess(s, 0), d, number, u))

    def install(self, s, e, d, number, u):
        if d == e:
            return s._replace(send=put(s.send, e, s.send[e] | {(number, u, s.mem[e])}))
        return s._replace(recv=put(s.recv, e, s.recv[e] | {(number, u)}))

    def on_lease(self, s, m):
        _, _, ses, d, number, u = m
        last = s.ans[d]
        if last and number <= last[4]:
            return self.emit(s, 1, last) if number == last[4] else s
        if s.mem[1] > u:
            answer = ("answer", 1, ses, d, number, "refused", s.mem[1])
        else:
            s = self.install(self.raise_mark(s, 1, u + 1), 1, d, number, u)
            answer = ("answer", 1, ses, d, number, "granted", s.mem[1])
        return self.emit(s._replace(ans=put(s.ans, d, answer)), 1, answer)

    def on_answer(self, s, m):
        _, _, _, d, number, verdict, mark = m
        if not s.pend[d] or s.pend[d][0] != number:
            return s
        u = s.pend[d][1]
        s = s._replace(pend=put(s.pend, d, None))
        return self.install(s, 0, d, number, u) if verdict == "granted" else self.raise_mark(s, 0, mark)

    def deliver(self, s, e, m):
        if m[0] == "hello":
            return self.on_hello(s, e, m)
        mine = s.peer[e] and m[2] == self.sess(s, e)
        if m[0] == "frame":
            if mine and m[3:] in s.recv[e]:
                return s._replace(recv=put(s.recv, e, s.recv[e] - {m[3:]}), took=put(s.took, m[4], min(2, s.took[m[4]] + 1)))
            return s
        if not mine:
            return self.other_session(s, e, m[2])
        if m[0] == "need":
            return self.raise_mark(s, e, m[3])
        return self.on_lease(s, m) if m[0] == "lease" else self.on_answer(s, m)

    def frame(self, s, e):
        """The open leases are used in order."""
        x = min(s.send[e])
        return self.emit(s._replace(send=put(s.send, e, s.send[e] - {x})), e, ("frame", e, self.sess(s, e), x[0], x[1]), x[2])

    def need(self, s, e):
        return self.emit(s, e, ("need", e, self.sess(s, e), self.told(s, e, s.peer[e])))

    def steps(self, s):
        if self.join and s.inc[0] and s.inc[1] and not self.one_session(s) and s.disk == s.mem:
            yield "A and B connect", self.connect(s)
        for e in (0, 1):
            me = NAME[e]
            if s.image[e] is None and s.restores[e]:
                yield f"backup of {me} is taken (mark {s.disk[e]})", s._replace(image=put(s.image, e, s.disk[e]))
            if not s.inc[e]:
                if s.image[e] is not None and s.restores[e] and s.image[e] != s.disk[e]:
                    old = put(s.disk, e, s.image[e])
                    yield f"{me}'s disk is restored (mark {s.image[e]})", s._replace(
                        disk=old, mem=put(s.mem, e, s.image[e]), restores=put(s.restores, e, s.restores[e] - 1))
                yield f"{me} starts (incarnation {s.fresh})", self.start(s, e)
                continue
            for mark in sorted({s.disk[e] + 1, s.mem[e]}):
                if s.disk[e] < mark <= s.mem[e]:
                    yield f"{me}'s disk has mark {mark}", self.sync(s, e, mark)
            if s.crashes:
                yield f"{me} crashes (mark {s.disk[e]} on disk)", self.crash(s._replace(crashes=s.crashes - 1), e)
            if s.closes and s.peer[e]:
                yield f"{me} ends its session (incarnation {s.fresh})", self.prune(self.close(s._replace(closes=s.closes - 1), e))
            t = self.need(s, e) if s.peer[e] else self.say_hello(s, e, s.heard[e])
            if t != s and (self.needs or not s.peer[e]):
                yield (f"{me} says what it needs" if s.peer[e] else f"{me} says hello (to {s.heard[e]})"), t
            if e == 0 and s.peer[0] and s.mem[0] < self.units:
                for d in (0, 1):
                    if not s.pend[d]:
                        yield f"A asks for pad {s.mem[0]} for {'A->B' if d == 0 else 'B->A'} (number {s.num[d] + 1})", self.lease(s, d)
            if s.send[e]:
                yield f"{me} has a new message for pad {min(s.send[e])[1]}", self.frame(s, e)
            for m in s.net:
                if m[1] != e:
                    t = self.deliver(s, e, m)
                    t = t if t.inc == s.inc else self.prune(t)
                    if t != s:
                        yield f"{me} receives {m}", t

    def pump(self, s, e, act):
        """One act of end e and all that follows, without loss; disks sync at once."""
        left = 40
        seen, s = s.net, act(s._replace(net=E))
        while left:
            left -= 1
            for end in (0, 1):
                s = self.sync(s, end, s.mem[end])
            if not s.net:
                break
            m = min(s.net, key=repr)
            s = self.deliver(s._replace(net=s.net - {m}), 1 - m[1], m)
        return s._replace(net=seen)

    def heal(self, s):
        """No more faults: the ends find one session by themselves, and the next message gets through each way."""
        s = s._replace(net=E, image=(None, None), crashes=0, restores=(0, 0), closes=0)  # Old messages are not needed.
        if s not in self.healed:
            self.healed[s] = self.healing(s)
        return self.healed[s]

    def healing(self, s):
        for e in (0, 1):
            s = self.sync(s if s.inc[e] else self.start(s, e), e, s.mem[e])
        if self.join and not self.one_session(s):
            s = self.connect(s)
        for _ in range(4):
            for e in (0, 1):
                s = self.pump(s, e, lambda t: self.need(t, e) if t.peer[e] else self.say_hello(t, e, t.heard[e]))
            if self.one_session(s):
                break
        else:
            return "the two ends do not get one session"
        s = s._replace(uses=s.uses + (0,) * 20, took=s.took + (0,) * 20)
        for d in (0, 1):
            for _ in range(4):
                if s.pend[d]:  # Asked again.
                    p = s.pend[d]
                    s = self.pump(s, 0, lambda t: self.emit(t, 0, ("lease", 0, self.sess(t, 0), d) + p))
                elif s.send[d]:
                    break
                else:
                    s = self.pump(s, 0, lambda t: self.lease(t, d))
            if not s.send[d]:
                return f"no lease is granted for {'A->B' if d == 0 else 'B->A'} after healing"
            before = sum(s.took)
            s = self.pump(s, d, lambda t: self.frame(t, d))
            if sum(s.took) == before:
                return f"a message {'A->B' if d == 0 else 'B->A'} does not get through after healing"
        return self.bad(s)


V, H, NO = "VIOLATION", "holds", "no"
FIRST = dict(restores=(1, 0))
LOST = dict(units=1, crashes=2, gate=True, join=True)
CASES = [  # Name, verdict, options, most states, whether it is in the smoke.
    ("no crash, slow disks, from an open session, 2 pads", H, dict(crashes=0, gate=True, opened=True), 300_000, True),
    ("no restore, from an open session, 1 pad, 1 crash, without needs (bounded)", NO,
     dict(units=1, opened=True, needs=False), 100_000, False),
    ("left out: a session that replaces an open one starts new random bits", V, dict(units=1, go_back=True), 300_000, True),
    ("slow disks, A restored, connect in one step, 1 pad, 2 crashes", H, dict(LOST, restores=(1, 0)), 300_000, True),
    ("slow disks, B restored, connect in one step, 1 pad, 2 crashes", H, dict(LOST, restores=(0, 1)), 300_000, True),
    ("slow disks, A restored, connect in one step, 2 pads, 1 crash", H, dict(LOST, units=2, crashes=1, restores=(1, 0)), 300_000, False),
    ("slow disks, B restored, connect in one step, 2 pads, 1 crash", H, dict(LOST, units=2, crashes=1, restores=(0, 1)), 300_000, False),
    ("left out: an answer waits for its record", V, dict(LOST, ungated=("answer",), restores=(1, 0)), 300_000, True),
    ("left out: a request waits for its record", V, dict(LOST, ungated=("lease",), restores=(0, 1)), 300_000, True),
    ("left out: a frame waits for its lease's record", V, dict(LOST, ungated=("frame",), restores=(1, 0)), 300_000, True),
]

if __name__ == "__main__":
    ok = True
    for name, expect, kw, limit, _ in CASES:
        ok &= show("links: " + name, explore(Link(**kw), max_states=limit, want_heal=expect != V), expect)
    print("all as expected" if ok else "SOMETHING WAS NOT AS EXPECTED")
