#!/usr/bin/env bash
# bench/run.sh NAME... [--json FILE]: builds what it needs and runs the named benchmarks; prints one
# JSON object a line, and writes them to FILE (overwritten). Without names it lists them.
# A baseline below half of what it does on a quiet machine voids a run: the line says so, and the
# exit status is 3 (1: a benchmark failed; 2: usage).
# KEYHOP_PRESET is the preset to build (default: release).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=${KEYHOP_PRESET:-release}
names=(draw_grpc draw_rest fetch_vs_draw_grpc draw_cost_scale draw_stream)

chosen=()
file=
while [ $# -gt 0 ]; do
  case $1 in
    --json)
      [ $# -ge 2 ] || { echo "bench: --json needs a file" >&2; exit 2; }
      file=$2
      shift
      ;;
    -h | --help) sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "bench: unknown option '$1'; see --help" >&2; exit 2 ;;
    *)
      if [[ " ${names[*]} " != *" $1 "* ]]; then
        echo "bench: unknown benchmark '$1'; there are: ${names[*]}" >&2
        exit 2
      fi
      chosen+=("$1")
      ;;
  esac
  shift
done
if [ ${#chosen[@]} -eq 0 ]; then
  printf '%s\n' "${names[@]}"
  exit 0
fi

"$root/deploy/build.sh" "$preset" keyhopd keyhop-qkdsim keyhop-bench >&2
[ -z "$file" ] || : >"$file"
bad=0
for name in "${chosen[@]}"; do
  if [ "$name" = draw_cost_scale ]; then  # Cores alone: no processes, no disk.
    line=$("$root/build/$preset/bin/keyhop-bench" "$name") || bad=$?
    [ -n "$line" ] || continue
    printf '%s\n' "$line"
    [ -z "$file" ] || printf '%s\n' "$line" >>"$file"
    continue
  fi
  # The build folder is on a real disk; /tmp may be memory.
  line=$(python3 "$root/bench/pair.py" --root "$root" --bin "$root/build/$preset/bin" \
    --run-dir "$root/build/$preset/bench/$name" "$name") || bad=$?
  [ -n "$line" ] || continue
  printf '%s\n' "$line"
  [ -z "$file" ] || printf '%s\n' "$line" >>"$file"
done
exit "$bad"
