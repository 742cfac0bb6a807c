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
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --once) arguments+=(--once) ;;
    --run-dir)
      [ $# -ge 2 ] || { echo "demo: --run-dir needs a folder" >&2; exit 2; }
      arguments+=(--run-dir "$(realpath -m "$2")")
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

"$root/deploy/build.sh" "$preset" keyhopd keyhop keyhop-qkdsim
exec python3 "$root/deploy/demo/run.py" --root "$root" --bin "$root/build/$preset/bin" "${arguments[@]}"
