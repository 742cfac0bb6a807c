"""Two network namespaces joined by a wire, and a tunnel between them, for the worked examples."""
import contextlib
import os
import re
import subprocess
import threading
import time

import world

UNDER = ("10.91.0.1", "10.91.0.2")


def run(*argv, text=None):
    done = subprocess.run(argv, input=text, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    world.expect(done.returncode == 0, f"{' '.join(argv[:4])}: {done.stdout.strip()}")
    return done.stdout


def wait_until(true, what, within=20):
    end = time.monotonic() + within
    while not true():
        world.expect(time.monotonic() < end, f"after {within} s: {what}")
        time.sleep(0.05)


class Namespaces:
    """Needs root, as the tunnels do; whoever lacks it hears so and the test fails."""

    def __init__(self):
        world.expect(os.geteuid() == 0, "network namespaces and tunnels need root")
        world.expect(os.path.exists("/dev/net/tun"), "there is no /dev/net/tun")
        # Names of interfaces have 15 characters at most; others may run the same test.
        self.tag = f"kh{os.getpid()}"
        self.names = [f"{self.tag}a", f"{self.tag}b"]
        self.children = []

    def __enter__(self):
        for name in self.names:
            run("ip", "netns", "add", name)
        a, b = self.names
        run("ip", "link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire",
            "netns", b)
        for name, address in zip(self.names, UNDER):
            for words in (("addr", "add", f"{address}/24", "dev", "wire"),
                          ("link", "set", "wire", "up"), ("link", "set", "lo", "up")):
                run("ip", "-n", name, *words)
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.terminate()
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
            child.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)

    def start(self, end, log, *argv, env=None):
        """A process inside one of the two, ended with them."""
        with open(log, "wb") as out:
            self.children.append(subprocess.Popen(
                ["ip", "netns", "exec", self.names[end], *argv], stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}))

    def received(self, source, target, count=3):
        """How many of so many packets through the tunnel came back."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.names[0], "ping", "-q", "-c", str(count), "-i", "0.2", "-W",
             "2", "-I", source, target], capture_output=True, text=True)
        found = re.search(r"(\d+) received", done.stdout)
        world.expect(found, f"ping: {done.stdout} {done.stderr}")
        return int(found[1])


class Watch:
    """Command lines of all processes while the block runs."""

    def __init__(self):
        self.seen = set()

    def __enter__(self):
        self.done = threading.Event()
        self.looker = threading.Thread(target=self.look)
        self.looker.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.looker.join()

    def look(self):
        while not self.done.wait(0.002):
            for name in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as f:
                    self.seen.add(f.read())

    def expect_without(self, pattern):
        world.expect(self.seen, "no command line was seen")
        world.expect(not any(re.search(pattern, line) for line in self.seen),
                     "a key was on a command line")
