"""What the tunnel examples share: keys of one SAE over REST, and two ends that agree on one.

The master draws a key and tells its partner the key_ID; the partner fetches the key, puts it to use
and says so; then the master puts it to use. Only key_IDs cross the line between the two: whoever
sees or changes one learns nothing, and can at most stop a rotation.
"""
import http.client
import json
import socket
import ssl
import time
import urllib.parse
import uuid

WAIT_S = 60


class Kme:
    """One SAE's access to its node (ETSI GS QKD 014)."""

    def __init__(self, rest, ca, cert, key):
        self.address = rest
        self.context = ssl.create_default_context(cafile=ca)
        self.context.load_cert_chain(cert, key)

    def ask(self, path):
        """Asks again while no answer came or the node says "not now". The same Idempotency-Key gets
        the same answer, so nothing is drawn twice."""
        name = {"Idempotency-Key": str(uuid.uuid4())}
        end = time.monotonic() + WAIT_S
        while True:
            connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=10)
            wait = 1.0
            try:
                connection.request("GET", path, headers=name)
                answer = connection.getresponse()
                body = json.loads(answer.read())
                if answer.status == 200:
                    return body["keys"][0]
                failure = RuntimeError(f"{path}: {answer.status} {body.get('message')}")
                if answer.status != 503:
                    raise failure
                wait = float(answer.headers.get("Retry-After", wait))
            except ssl.SSLCertVerificationError:
                raise
            except (OSError, http.client.HTTPException) as error:
                failure = error
            finally:
                connection.close()
            if time.monotonic() + wait > end:
                raise failure
            time.sleep(wait)

    def draw(self, slave):
        """(key_ID, 256 bits in base64)."""
        key = self.ask(f"/api/v1/keys/{urllib.parse.quote(slave, safe='')}/enc_keys?size=256")
        return key["key_ID"], key["key"]

    def fetch(self, master, key_id):
        key = self.ask(f"/api/v1/keys/{urllib.parse.quote(master, safe='')}/dec_keys?key_ID="
                       + urllib.parse.quote(key_id, safe=""))
        return key["key"]


def add_arguments(parser):
    parser.add_argument("role", choices=["master", "slave"])
    parser.add_argument("--partner", required=True, help="the other end's SAE ID")
    parser.add_argument("--rest", required=True, help="HOST:PORT of the own node")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--line", required=True,
                        help="HOST:PORT where the slave listens for key_IDs; port 0: any, it says")
    parser.add_argument("--every", type=float, default=120, help="seconds between two keys")
    parser.add_argument("--rounds", type=int, default=0, help="end after so many keys; 0: never")


def run(options, use):
    """Calls use(key_ID, key) at this end for each key; the slave's use comes first."""
    kme = Kme(options.rest, options.ca, options.cert, options.key)
    host, port = options.line.rsplit(":", 1)
    if options.role == "slave":
        with socket.create_server((host, int(port))) as listener:
            print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
            line, _ = listener.accept()
            with line, line.makefile("rw") as text:
                for key_id in text:
                    key_id = key_id.strip()
                    use(key_id, kme.fetch(options.partner, key_id))
                    print("ok", file=text, flush=True)
        return
    with connect((host, int(port))) as line, line.makefile("rw") as text:
        done = 0
        while True:
            key_id, key = kme.draw(options.partner)
            print(key_id, file=text, flush=True)
            if text.readline().strip() != "ok":
                raise RuntimeError("the other end did not take the key")
            use(key_id, key)
            done += 1
            print(f"{done}: {key_id}", flush=True)
            if done == options.rounds:
                return
            time.sleep(options.every)


def connect(address):
    """The other end may be up a little later."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return socket.create_connection(address, timeout=WAIT_S)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
