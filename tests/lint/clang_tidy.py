#!/usr/bin/env python3
"""clang_tidy.py BUILD_DIR: clang-tidy over the core and over what changed lately.

Checked are the sources of kms/base, kms/crypto and both cores, and every other source that differs
from the commit before the last one or is not committed. What passed is remembered in
BUILD_DIR/clang-tidy by the content of the source, of all headers of ours that it includes, and of
.clang-tidy; it is checked again only when one of them changed.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

CORE = ("kms/base/", "kms/crypto/", "kms/core/", "trusted_node/core/")
OURS = ("kms/", "trusted_node/", "sim/", "bench/")
# As the build tells clang (kms/ak/CMakeLists.txt).
COROUTINES = [f"--extra-arg=-D{d}" for d in ("__cpp_impl_coroutine=201902L",
                                             "BOOST_ASIO_HAS_CO_AWAIT=1",
                                             "BOOST_ASIO_HAS_STD_COROUTINE=1")]
INCLUDE = re.compile(rb'^#include "([^"]+)"', re.M)


def changed(root):
    """Paths that git calls changed; none outside a git checkout."""
    paths = set()
    for arguments in (["diff", "--name-only", "HEAD~1"],
                      ["ls-files", "--others", "--exclude-standard"]):
        result = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)
        if result.returncode == 0:
            paths.update(result.stdout.split())
    return paths


def digest(root, source, memo):
    """A hash of the source and of every header of ours below it."""
    seen, waiting = set(), [source]
    total = hashlib.sha256()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if path not in memo:
            try:
                content = (root / path).read_bytes()
            except OSError:  # Generated, or of a library.
                continue
            names = sorted(name.decode() for name in INCLUDE.findall(content))
            memo[path] = (hashlib.sha256(content).digest(), names)
        total.update(path.encode() + memo[path][0])
        waiting.extend(memo[path][1])
    total.update((root / ".clang-tidy").read_bytes())
    return total.hexdigest()


def main():
    root = pathlib.Path.cwd()
    build = pathlib.Path(sys.argv[1])
    passed = build / "clang-tidy"
    passed.mkdir(exist_ok=True)
    lately = changed(root)
    memo = {}
    work = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        try:
            source = pathlib.Path(entry["file"]).relative_to(root).as_posix()
        except ValueError:
            continue
        if source.startswith(CORE) or (source.startswith(OURS) and source in lately):
            work.append((source, passed / digest(root, source, memo)))
    work = sorted({source: stamp for source, stamp in work}.items())
    todo = [(source, stamp) for source, stamp in work if not stamp.exists()]

    def check(item):
        source, stamp = item
        result = subprocess.run(["clang-tidy", "--quiet", *COROUTINES, "-p", build, source],
                                capture_output=True, text=True)
        if result.returncode == 0:
            stamp.touch()
        return source, result

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for source, result in pool.map(check, todo):
            if result.returncode != 0:
                bad += 1
                print(f"{source}:\n{result.stdout}{result.stderr}")
    print(f"clang-tidy: {len(work)} sources, {len(todo)} checked, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
