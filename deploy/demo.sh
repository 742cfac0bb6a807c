#!/usr/bin/env bash
# deploy/demo.sh [--once] [--run-dir DIR] [--preset PRESET]
# Installs, builds, makes certificates, starts five key managers with simulated QKD links, fetches
# keys at both ends, shows them, and leaves the network up until Ctrl-C.
#   --once          tear down after the check; exit 0 only if all keys matched
#   --run-dir DIR   holds everything that the demo writes (default: .demo)
#   --preset NAME   a preset of CMakePresets.json (default: release)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=release
run_dir=.demo
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --once) arguments+=(--once) ;;
    --run-dir)
      [ $# -ge 2 ] || { echo "demo: --run-dir needs a folder" >&2; exit 2; }
      run_dir=$2
      shift
      ;;
    --preset)
      [ $# -ge 2 ] || { echo "demo: --preset needs a name" >&2; exit 2; }
      preset=$2
      shift
      ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "demo: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
  shift
done

run_dir=$(realpath -m "$run_dir")
mkdir -p "$run_dir"
exec 8>"$run_dir/.lock"
if ! flock -n 8; then
  echo "demo: another demo runs in $run_dir; end it or give --run-dir" >&2
  exit 1
fi
# What an earlier demo said of itself is not true any more.
rm -f "$run_dir/demo.json"

"$root/deploy/setup.sh" 8>&-
# The build gets a process group of its own, so that a signal to this script ends all of it.
building=
trap '[ -z "$building" ] || kill -TERM -- "-$building" 2>/dev/null || true; wait; exit 1' INT TERM HUP
set -m
"$root/deploy/build.sh" "$preset" keyhopd keyhop keyhop-qkdsim 8>&- </dev/null &
building=$!
set +m
wait "$building"
trap - INT TERM HUP
exec python3 "$root/deploy/demo/run.py" --root "$root" --bin "$root/build/$preset/bin" \
  --run-dir "$run_dir" "${arguments[@]}"
