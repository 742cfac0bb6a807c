#!/usr/bin/env bash
# deploy/build.sh [PRESET] [TARGET...]: packages, configure, build. Programs come to
# build/PRESET/bin. PRESET is one of CMakePresets.json (default: release); without TARGETs all is
# built. Prints nothing when there is nothing to do. KEYHOP_JOBS sets the number of compilers.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=${1:-release}
[ $# -eq 0 ] || shift
build=$root/build/$preset

if [[ ! $preset =~ ^[a-z][a-z-]*$ ]]; then
  echo "usage: deploy/build.sh [PRESET] [TARGET...]" >&2
  exit 2
fi
"$root/deploy/setup.sh"

# One build of a preset at a time: two demos may start side by side.
mkdir -p "$build"
exec 9>"$build/.build-lock"
flock 9

if [ ! -e "$build/build.ninja" ] || [ "$root/CMakePresets.json" -nt "$build/.configured" ]; then
  if ! (cd "$root" && cmake --preset "$preset") >"$build/configure.log" 2>&1; then
    tail -n 40 "$build/configure.log" >&2
    echo "build: cmake --preset $preset failed; the whole output is in $build/configure.log" >&2
    exit 1
  fi
  touch "$build/.configured"
fi

# The heaviest files (Beast, gRPC) take about 1.5 GiB each to compile under the sanitizers.
jobs=${KEYHOP_JOBS:-}
if [ -z "$jobs" ]; then
  jobs=$(nproc)
  free_mib=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
  by_memory=$((free_mib / 1536))
  [ "$by_memory" -ge 1 ] || by_memory=1
  [ "$by_memory" -ge "$jobs" ] || jobs=$by_memory
fi

# ninja prints a line even when there is nothing to do; pass on all others.
export NINJA_STATUS="[$preset %f/%t] "
set +e
ninja -C "$build" -j "$jobs" "$@" 9>&- |
  sed -u -e '/^ninja: no work to do\.$/d' -e '/^ninja: Entering directory/d' \
    -e '/Re-checking globbed directories\.\.\.$/d'
status=${PIPESTATUS[0]}
exit "$status"
