"""One pair stream as the code has it (kms/core/stream): the session's rules of epochs.py message by message, and its disks.

Source A asks (`ask`: its next_hello_) until B said that it heard A; B answers every hello that echoes it, not only news; a hello
under the wrong key of an epoch's number counts as "lacks the key", which names the number only; A's opening may time out; one lease
request is under way, with a number that grows through all sessions of a start; B keeps its last answer and repeats it, and ignores
older numbers. No lease on arrival. Every output names the write that it waits for (`gate`: a disk is slow, syncs what waits in parts,
a crash loses the rest and what waits for it); a drawn key waits for the record of its lease's confirmation only.

The network is a set that never forgets; segments come at most once. To keep the graph small, one hello is sent for each sender,
epoch, pair of incarnations and flag, one report a session, and a write waits behind at most one other. B's records raise its
version, and count for the oracle (seq), once it heard A since its start; hearing A raises once. hseq is how many of them A knows of: B
is restored only to images older than the last message that A noted.
"""
from collections import namedtuple
from engine import explore, show

E = frozenset()
# Records. keys: of the epochs that are kept, (number, key); held: acknowledged, not leased; open: leased, unfetched.
AD = namedtuple("AD", "keys top nxt held mark vseen hseq")
BD = namedtuple("BD", "keys top mark atop held open ver seq")
# Memory. flight: sent, not acknowledged; pend: (number, x); usable: (x, writes to wait for).
AM = namedtuple("AM", "inc peer want ready heard opening ask flight pend num usable")
BM = namedtuple("BM", "inc peer num answer")
# aq, bq: records not durable yet, oldest first; out: (end, how many of them to wait for, message). ad, bd are in memory.
S = namedtuple("S", "ad bd am bm adisk bdisk aq bq out net segs aimg bimg master slave made heard crashes rest fresh")
DOWN_A = AM(0, 0, False, False, False, False, False, E, None, 0, E)
DOWN_B = BM(0, 0, 0, None)
QUEUE_MAX = 2


class Sessions:
    def __init__(self, epochs=1, made=2, crashes=1, restores=(0, 0), gate=(), ungated=(), numbers="start", news_only=False,
                 wrong_key_lacks=True, opened=False):
        """gate: the ends whose disks are slow, of "AB". ungated: kinds of output that wait for nothing.
        numbers: "start", or "session": begin anew with each session. news_only: B answers only hellos that tell it something.
        opened: begins with an open session, whose messages the network has."""
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})
        self.healed = {}

    def initial(self):
        ad, bd = AD((), 0, (0, 0), E, (0, 0), 0, 0), BD((), 0, (0, 0), (0, 0), E, E, 0, 0)
        first = S(ad, bd, DOWN_A._replace(inc=1, want=True), DOWN_B._replace(inc=1), ad, bd, (), (), E, E, E, None, None, (), (), 0, 0,
                 self.crashes, self.restores, (2, 2))
        return self.open_it(first) if self.opened else first

    def open_it(self, s):
        s = self.open_epoch(s)
        for kind in ("open", "opened", "hello", "hello"):
            s = self.sync(self.sync(s, "A", len(s.aq)), "B", len(s.bq))
            m = max(x for x in s.net | s.segs if x[0] == kind)  # The second hello is B's.
            s = self.deliver(s._replace(segs=s.segs - {m}), m)
        return s

    def bad(self, s):
        for who, log in (("master", s.master), ("slave", s.slave)):
            if len(set(log)) < len(log):
                return f"key bytes go to the {who} twice (G2)"
        ids = {}
        for number, off, key, c in s.master + s.slave:
            if ids.setdefault((number, off, key), c) != c:
                return f"key_ID {(number, off, key)} means two values (G1)"
        if self.restores != (0, 0):
            return None
        at_b = s.bd.open | frozenset(m[1] for e, _, m in s.out if m[0] == "fetched")
        if s.am.peer == s.bm.inc and s.am.inc and not frozenset(x for x, _ in s.am.usable) <= s.bd.open:
            return "a key can be drawn that B does not have"
        if s.ad.top <= 1 and s.bm.inc and not frozenset(s.master) - frozenset(s.slave) <= at_b:
            return "a key was drawn that B does not have"

    # -- Outputs and writes
    def emit(self, s, e, m, after=None):
        queue = s.aq if e == "A" else s.bq
        if self.pair(m) and any(self.pair(m) == self.pair(x) for x in s.net):
            return s
        after = len(queue) if after is None else after
        if after == 0 or m[0] in self.ungated:
            return self.leave(s, m)
        return s._replace(out=s.out | {(e, after, m)})

    def leave(self, s, m):
        if m[0] == "drawn":
            return s._replace(master=s.master + (m[1],))
        if m[0] == "fetched":
            return s._replace(slave=s.slave + (m[1],))
        if m[0] in ("open", "seg"):
            return s._replace(segs=s.segs | {m})
        return s._replace(net=s.net | {m})

    def pair(self, m):
        if m[0] == "hello":
            return m[:6]
        return m[:3] if m[0] == "report" else None

    def write(self, s, e, new):
        """A record of one end; durable at once without a slow disk."""
        s = s._replace(ad=new) if e == "A" else s._replace(bd=new)
        if e not in self.gate:
            return self.durable(s, e, new)
        return s._replace(aq=s.aq + (new,)) if e == "A" else s._replace(bq=s.bq + (new,))

    def durable(self, s, e, new):
        if e == "B":
            return s._replace(bdisk=new)
        return s._replace(adisk=new, heard=max(s.heard, new.hseq))

    def sync(self, s, e, n):
        """The first n of the waiting records become durable, in one batch."""
        queue = s.aq if e == "A" else s.bq
        if not n:
            return s
        s = self.durable(s, e, queue[n - 1])
        s = s._replace(aq=queue[n:]) if e == "A" else s._replace(bq=queue[n:])
        if e == "A":
            s = s._replace(am=s.am._replace(usable=frozenset((x, max(0, k - n)) for x, k in s.am.usable)))
        waiting = sorted((x for x in s.out if x[0] == e), key=repr)
        s = s._replace(out=frozenset(x for x in s.out if x[0] != e))
        for _, after, m in waiting:
            s = self.leave(s, m) if after <= n else s._replace(out=s.out | {(e, after - n, m)})
        return s

    # -- A
    def a(self, s, **kw):
        return s._replace(am=s.am._replace(**kw))

    def ses(self, s):
        return (s.am.inc, s.am.peer)

    def want_epoch(self, s):
        return self.a(s, want=True, ready=False, heard=False, ask=False)

    def a_hello(self, s, echo):
        known = (s.ad.mark, s.ad.vseen) if echo else (None, None)
        return self.emit(self.a(s, ask=True), "A", ("hello", "A", s.ad.keys[-1], s.am.inc, echo, None) + known)

    def open_session(self, s, binc):
        num = 0 if self.numbers == "session" else s.am.num
        return self.a(s, peer=binc, heard=False, flight=E, usable=E, pend=None, num=num)

    def note(self, ad, ver, seq):
        return ad._replace(vseen=max(ad.vseen, ver), hseq=max(ad.hseq, seq))

    def above(self, ad, mark):
        mark = max(ad.mark, mark)
        return ad._replace(mark=mark, held=frozenset(x for x in ad.held if x[:2] >= mark))

    def hear_b(self, s, binc, mark, atop, ver, seq):
        if s.am.peer != binc:
            s = self.open_session(s, binc)
        ad = self.above(self.note(s.ad, ver, seq), mark)
        if mark[0] > s.ad.keys[-1][0]:
            return self.want_epoch(self.write(s, "A", ad._replace(top=max(ad.top, mark[0]))))
        return self.write(self.a(s, ready=True), "A", ad._replace(nxt=max(ad.nxt, ad.mark, atop)))

    def at_a(self, s, m):
        kind, am, ad = m[0], s.am, s.ad
        cur = ad.keys[-1] if ad.keys else None
        if kind == "lack":
            return self.want_epoch(s) if cur and not am.opening and m[2:] == (cur[0], am.inc) else s
        if kind == "hello":
            _, _, epoch, binc, echo, said, mark, atop, ver, seq = m
            if epoch != cur or am.want:
                return s
            if echo != am.inc:
                return self.a_hello(s, 0) if not am.heard or am.peer != binc else s
            s = self.a(s, opening=False)
            if am.peer != binc or not am.ready or ad.mark < mark:
                s = self.hear_b(s, binc, mark, atop, ver, seq)
                if s.am.want:
                    return s
            elif ver > ad.vseen:
                s = self.write(s, "A", self.note(ad, ver, seq))
            s = self.a(s, heard=said)
            return self.a(s, ask=False) if said else self.a_hello(s, s.am.peer)
        if kind == "opened":
            _, _, epoch, ainc, binc, accepted, top, ver, seq = m
            if not am.opening or (epoch, ainc) != (cur, am.inc):
                return s
            s = self.a(s, opening=False)
            if not accepted:
                return self.want_epoch(self.write(s, "A", ad._replace(top=max(ad.top, top))))
            s = self.hear_b(s, binc, (epoch[0], 0), (epoch[0], 0), ver, seq)
            return self.a_hello(s, binc)
        if not am.peer or m[2] != self.ses(s):
            return s
        if kind == "ack":
            _, _, _, x, ver, seq = m
            if not am.ready or x not in am.flight:
                return s
            s = self.a(s, heard=True, flight=am.flight - {x})
            held = ad.held | ({x} if x[:2] >= ad.mark else E)
            return self.write(s, "A", self.note(ad, ver, seq)._replace(held=held))
        if kind == "report":
            return self.write(s, "A", self.note(ad, m[3], m[4])) if m[3] > ad.vseen else s
        if kind == "answer" and am.pend and am.pend[0] == m[3]:
            _, _, _, _, epoch, verdict, mark, ver, seq = m
            x = am.pend[1]
            if epoch != (x[0], x[2]) or epoch not in ad.keys:
                return s
            s, ad = self.a(s, pend=None), self.note(ad, ver, seq)
            if verdict == "refused" and mark[0] == x[0]:
                ad = self.above(ad, mark)
                ad = ad._replace(nxt=max(ad.nxt, ad.mark))
            s = self.write(s, "A", ad)
            return self.a(s, usable=s.am.usable | {(x, len(s.aq))}) if verdict == "granted" else s
        return s

    def open_epoch(self, s):
        ad, am, key = s.ad, s.am, s.made + 1
        epoch = (ad.top + 1, key)
        keys = (ad.keys + (epoch,))[-2:]
        usable = frozenset(u for u in am.usable if (u[0][0], u[0][2]) in keys)
        s = self.a(s, want=False, ready=False, heard=False, opening=True, ask=False, usable=usable)
        at = (epoch[0], 0)
        s = self.write(s._replace(made=key), "A", ad._replace(keys=keys, top=epoch[0], nxt=at, held=E, mark=max(ad.mark, at)))
        return self.emit(s, "A", ("open", "A", epoch, s.am.inc))

    def make(self, s):
        ad, c = s.ad, s.made + 1
        x = ad.nxt + (ad.keys[-1][1], c)
        s = self.a(s._replace(made=c), flight=s.am.flight | {x})
        return self.emit(self.write(s, "A", ad._replace(nxt=(x[0], x[1] + 1))), "A", ("seg", "A", self.ses(s), x))

    def lease(self, s):
        x, number = min(s.ad.held), s.am.num + 1
        s = self.a(s, pend=(number, x), num=number)
        s = self.write(s, "A", s.ad._replace(mark=(x[0], x[1] + 1), held=s.ad.held - {x}))
        return self.request(s)

    def request(self, s):
        return self.emit(s, "A", ("lease", "A", self.ses(s)) + s.am.pend)

    def again(self, s):
        """A lease request was not answered in time: it is repeated, with a hello."""
        s = self.request(s)
        if not s.am.want and not s.am.opening:
            s = self.a_hello(s, s.am.peer)
        return self.a(s, ask=False) if s.am.heard else s

    def late(self, s, x):
        s = self.a(s, flight=s.am.flight - {x})
        return self.a(s, ask=True) if s.am.ready else s

    def asks(self, s):
        s2 = self.a_hello(s, s.am.peer if s.am.ready else 0)
        return self.a(s2, ask=False) if s.am.heard else s2

    def draw(self, s, u):
        s = self.a(s, usable=s.am.usable - {u})
        return self.emit(s, "A", ("drawn", u[0]), u[1])

    # -- B
    def b(self, s, **kw):
        return s._replace(bm=s.bm._replace(**kw))

    def record(self, s, **kw):
        up = s.bm.peer != 0
        return self.write(s, "B", s.bd._replace(ver=s.bd.ver + up, seq=s.bd.seq + up, **kw))

    def b_hello(self, s, epoch, echo):
        bd, peer = s.bd, s.bm.peer
        return self.emit(s, "B", ("hello", "B", epoch, s.bm.inc, echo, peer != 0 and peer == echo, bd.mark, max(bd.atop, bd.mark), bd.ver,
                                  bd.seq))

    def at_b(self, s, m):
        kind, bd, bm = m[0], s.bd, s.bm
        if kind == "open":
            _, _, epoch, ainc = m
            accepted = epoch[0] > bd.top
            if accepted:
                at = (epoch[0], 0)
                keep = frozenset(x for x in bd.open if x[0] + 1 >= epoch[0])
                s = self.record(s, keys=(bd.keys + (epoch,))[-2:], top=epoch[0], mark=at, atop=at, held=E, open=keep)
            return self.emit(s, "B", ("opened", "B", epoch, ainc, bm.inc, accepted, s.bd.top, s.bd.ver, s.bd.seq))
        if kind == "hello":
            return self.on_hello(s, m)
        if not bm.peer or m[2] != (bm.peer, bm.inc):
            return s
        if kind == "seg":
            x = m[3]
            if x[:2] < bd.mark or (x[0], x[2]) not in bd.keys or x[0] != bd.top or any(x[:2] == y[:2] for y in bd.held | bd.open):
                return s
            s = self.record(s, held=bd.held | {x}, atop=max(bd.atop, (x[0], x[1] + 1)))
            return self.emit(s, "B", ("ack", "B", m[2], x, s.bd.ver, s.bd.seq))
        _, _, ses, number, x = m
        if (x[0], x[2]) not in bd.keys:
            return s
        if bm.answer and number == bm.num:
            return self.emit(s, "B", bm.answer)
        if number < bm.num:
            return s
        verdict = "refused"
        if x[:2] >= bd.mark:
            here = frozenset(y for y in bd.held if y[:2] == x[:2])
            verdict = "granted" if here else "lacking"
            up = (x[0], x[1] + 1)
            s = self.record(s, mark=up, open=bd.open | here, held=frozenset(y for y in bd.held if y[:2] >= up))
        answer = ("answer", "B", ses, number, (x[0], x[2]), verdict, s.bd.mark, s.bd.ver, s.bd.seq)
        return self.emit(self.b(s, num=number, answer=answer), "B", answer)

    def on_hello(self, s, m):
        _, _, epoch, ainc, echo, _, mark, vseen = m
        bd, bm = s.bd, s.bm
        if epoch not in bd.keys:
            wrong = any(epoch[0] == k[0] for k in bd.keys)
            return s if wrong and not self.wrong_key_lacks else self.emit(s, "B", ("lack", "B", epoch[0], ainc))
        if echo != bm.inc:
            return self.b_hello(s, epoch, ainc)
        if vseen > bd.ver:  # An old image: all is burnt, the session ends by new random bits.
            s = s._replace(bd=bd._replace(ver=vseen + 1), bm=DOWN_B._replace(inc=s.fresh[1]), fresh=(s.fresh[0], s.fresh[1] + 1))
            s = self.record(s, keys=(), held=E, open=E, mark=max(bd.mark, mark), top=max(bd.top, epoch[0]))
            return self.emit(s, "B", ("lack", "B", s.bd.top, ainc))
        news, first = bm.peer != ainc or bd.mark < mark, not bm.peer
        if bm.peer != ainc:
            s = self.b(s, peer=ainc, num=0, answer=None)
        if first and bd.mark >= mark:
            s = self.record(s)
        if bd.mark < mark:
            s = self.record(s, mark=mark, held=frozenset(x for x in bd.held if x[:2] >= mark))
        return self.b_hello(s, epoch, ainc) if news or not self.news_only else s

    def can_fetch(self, s, x):
        return s.bm.peer and (x[0], x[2]) in s.bd.keys and any(x[:3] == y[:3] for y in s.bd.open)

    def fetch(self, s, x):
        y = next(y for y in s.bd.open if x[:3] == y[:3])
        return self.emit(self.record(s, open=s.bd.open - {y}), "B", ("fetched", y))

    # -- World
    def deliver(self, s, m):
        if m[1] == "A":
            return self.at_b(s, m) if s.bm.inc else s
        return self.at_a(s, m) if s.am.inc else s

    def prune(self, s):
        """Forgets messages that no later state can use: they name an incarnation that is gone."""
        ainc, binc = s.am.inc, s.bm.inc

        def alive(m):
            if m[0] in ("seg", "lease"):
                return m[2][1] == binc
            if m[0] in ("ack", "answer", "report"):
                return m[2][0] == ainc
            if m[0] == "hello" and m[1] == "A":
                return m[4] == binc or (not m[4] and m[3] == ainc)
            if m[0] == "hello":
                return m[4] == ainc or (not m[4] and m[3] == binc)
            return m[3] == ainc if m[1] == "B" else True
        return s._replace(net=frozenset(filter(alive, s.net)), segs=frozenset(filter(alive, s.segs)))

    def start_a(self, s):
        keys = bool(s.ad.keys)
        return s._replace(am=DOWN_A._replace(inc=s.fresh[0], want=not keys, ask=keys), fresh=(s.fresh[0] + 1, s.fresh[1]))

    def start_b(self, s):
        return s._replace(bm=DOWN_B._replace(inc=s.fresh[1]), fresh=(s.fresh[0], s.fresh[1] + 1))

    def crash(self, s, e):
        s = s._replace(out=frozenset(x for x in s.out if x[0] != e))
        s = s._replace(am=DOWN_A, ad=s.adisk, aq=()) if e == "A" else s._replace(bm=DOWN_B, bd=s.bdisk, bq=())
        return self.prune(s)

    def steps(self, s):
        for label, t in self.all_steps(s):
            if t != s and len(t.aq) <= QUEUE_MAX and len(t.bq) <= QUEUE_MAX:
                yield label, t

    def all_steps(self, s):
        ad, am, bd, bm = s.ad, s.am, s.bd, s.bm
        cur = ad.keys[-1] if ad.keys else None
        if s.aimg is None and s.rest[0]:
            yield "backup of A is taken", s._replace(aimg=s.adisk)
        if s.bimg is None and s.rest[1]:
            yield "backup of B is taken", s._replace(bimg=s.bdisk)
        for e, queue in (("A", s.aq), ("B", s.bq)):
            for n in range(1, len(queue) + 1):
                yield f"{e}'s disk syncs {n} of {len(queue)}", self.sync(s, e, n)
        if not am.inc:
            if s.aimg is not None and s.rest[0] and s.aimg != ad:
                yield "A's disk is restored", s._replace(ad=s.aimg, adisk=s.aimg, rest=(s.rest[0] - 1, s.rest[1]))
            yield "A starts", self.start_a(s)
        else:
            if s.crashes:
                yield "A crashes", self.crash(s._replace(crashes=s.crashes - 1), "A")
            if am.want and ad.top < self.epochs and s.made < self.made:
                t = self.open_epoch(s)
                yield f"A opens epoch {t.ad.keys[-1]}", t
            if am.opening:
                yield "A's opening is not answered in time", self.a(s, opening=False, ask=True)
            quiet = cur and not am.want and not am.opening
            if quiet and am.ask:
                yield f"A says hello (epoch {cur}, incarnation {am.inc})", self.asks(s)
            if quiet and am.ready and am.heard:
                if s.made < self.made:
                    t = self.make(s)
                    yield f"A sends bytes {t.made} at {ad.nxt}", t
                if ad.held and not am.pend:
                    yield f"A asks for a lease of {min(ad.held)} (number {am.num + 1})", self.lease(s)
            if am.pend:
                yield "A repeats its request, with a hello", self.again(s)
            for x in am.flight:
                yield f"A does not wait for {x} any more", self.late(s, x)
            for u in am.usable:
                yield f"master draws {u[0]}", self.draw(s, u)
        if not bm.inc:
            if s.bimg is not None and s.rest[1] and s.bimg != bd and s.bimg.seq < s.heard:
                yield "B's disk is restored", s._replace(bd=s.bimg, bdisk=s.bimg, rest=(s.rest[0], s.rest[1] - 1))
            yield "B starts", self.start_b(s)
        else:
            if s.crashes:
                yield "B crashes", self.crash(s._replace(crashes=s.crashes - 1), "B")
            if not bm.peer and bd.keys:
                yield f"B asks to be heard (incarnation {bm.inc})", self.b_hello(s, bd.keys[-1], 0)
            for x in s.master:
                if self.can_fetch(s, x):
                    yield f"slave fetches {x}", self.fetch(s, x)
            if bm.peer and bd.ver > ad.vseen:
                yield f"B reports version {bd.ver}", self.report(s)
        for m in s.net | s.segs:
            t = self.deliver(s._replace(segs=s.segs - {m}), m)
            yield f"{'B' if m[1] == 'A' else 'A'} receives {m}", t if t.bm.inc == bm.inc else self.prune(t)

    def report(self, s):
        return self.emit(s, "B", ("report", "B", (s.bm.peer, s.bm.inc), s.bd.ver, s.bd.seq))

    # -- No more faults
    def pump(self, s, act):
        """One act and all that follows, without loss; disks sync."""
        s, left = act(s), 60
        while left:
            left -= 1
            s = self.sync(self.sync(s, "A", len(s.aq)), "B", len(s.bq))
            if not s.net | s.segs:
                break
            m = min(s.net | s.segs, key=repr)
            s = self.deliver(s._replace(net=s.net - {m}, segs=s.segs - {m}), m)
        return s

    def heal(self, s):
        s = s._replace(net=E, segs=E, aimg=None, bimg=None, crashes=0, rest=(0, 0), heard=0)  # Old messages are not needed.
        if s not in self.healed:
            self.healed[s] = self.healing(s)
        return self.healed[s]

    def healing(self, s):
        """Every new message comes through: with at most three new epochs a fresh key must be drawn and fetched."""
        s = self.sync(self.sync(s, "A", len(s.aq)), "B", len(s.bq))
        s = s if s.am.inc else self.start_a(s)
        s = s if s.bm.inc else self.start_b(s)
        top, drawn = s.ad.top, s.master
        for _ in range(12):
            if s.ad.top > max(top, s.bd.top) + 3:
                return "epoch after epoch is opened"
            if not s.bm.peer and s.bd.keys:
                s = self.pump(s, lambda t: self.b_hello(t, t.bd.keys[-1], 0))
            am = s.am
            for x in am.flight:
                s = self.late(s, x)
            if am.opening:
                s = self.a(s, opening=False, ask=True)
            elif am.want:
                s = self.pump(s, self.open_epoch)
            elif am.pend:
                s = self.pump(s, self.again)
            elif am.ask:
                s = self.pump(s, self.asks)
            elif am.usable:
                x = min(am.usable)[0]
                s = self.draw(s, min(am.usable))
                if self.can_fetch(s, x):
                    return self.bad(self.pump(s, lambda t: self.fetch(t, x)))
                if s.am.peer == s.bm.inc and self.restores == (0, 0):
                    return "a key is drawn, in an open session, that cannot be fetched"
            elif am.ready and am.heard and s.ad.held:
                s = self.pump(s, self.lease)
            elif am.ready and am.heard:
                s = self.pump(s, self.make)
            else:
                return "A waits for B for ever" if s.bm.peer or not s.bd.keys else "the two ends do not get a session"
        return "no fresh key can be drawn and fetched after healing"


V, H, NO, W = "VIOLATION", "holds", "no", "WEDGED"
A, B = (1, 0), (0, 1)
CASES = [  # Name, verdict, options, most states, whether it is in the smoke.
    ("left out: every hello that echoes is answered", W, dict(news_only=True), 100_000, True),
    ("left out: a wrong key of the same number counts as lacking it", W, dict(epochs=2, restores=A, wrong_key_lacks=False), 100_000,
     True),
    ("left out: numbers grow through all sessions", W, dict(numbers="session", opened=True), 300_000, True),
    ("left out: a fetched key waits for its record", V, dict(gate="B", ungated=("fetched",), opened=True), 300_000, True),
    ("left out: a lease's answer waits for its record", V, dict(gate="B", ungated=("answer",), opened=True), 300_000, True),
    ("no restore, from an open session, a segment, 1 crash", H, dict(opened=True), 300_000, True),
    ("no restore, 1 epoch, a segment, 1 crash", H, dict(), 300_000, False),
    ("no restore, from an open session, 2 epochs, a segment, 1 crash (bounded)", NO, dict(opened=True, epochs=2, made=3), 100_000, False),
    ("A's disk slow, no restore, from an open session, a segment, 1 crash", H, dict(opened=True, gate="A"), 300_000, False),
    ("B's disk slow, no restore, from an open session, a segment, 1 crash", H, dict(opened=True, gate="B"), 300_000, False),
    ("B's disk slow, B restored, from an open session, a segment, 1 crash", H,
     dict(opened=True, gate="B", restores=B), 300_000, False),
    ("A's disk slow, A restored, from an open session, a segment, 1 crash", H, dict(opened=True, gate="A", restores=A), 300_000, False),
    ("A restored, 2 epochs, 1 crash (bounded)", NO, dict(epochs=2, restores=A), 100_000, False),
]

if __name__ == "__main__":
    ok = True
    for name, expect, kw, limit, _ in CASES:
        ok &= show("sessions: " + name, explore(Sessions(**kw), max_states=limit, want_heal=expect != V), expect)
    print("all as expected" if ok else "SOMETHING WAS NOT AS EXPECTED")
