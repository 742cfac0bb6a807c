#!/usr/bin/env bash
# tests/run.sh                 release: every test but the long ones; then asan-ubsan: core, wire and
#                              parsers
# tests/run.sh --full          every test, the long ones (label `long`) and the models too, in release
#                              and under asan-ubsan, and the tests of our own threads under tsan
# tests/run.sh --label LABEL   release: only the tests with this label (a regular expression)
# Ends non-zero if any test fails. KEYHOP_JOBS sets how many compilers and tests run at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mode=default
label=
while [ $# -gt 0 ]; do
  case $1 in
    --full) mode=full ;;
    --label)
      [ $# -ge 2 ] || { echo "tests/run.sh: --label needs a label" >&2; exit 2; }
      mode=label label=$2
      shift
      ;;
    -h | --help) sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "tests/run.sh: unknown argument '$1' (--full, --label LABEL)" >&2; exit 2 ;;
  esac
  shift
done

jobs=${KEYHOP_JOBS:-$(nproc)}
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1
export UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS=suppressions=$root/tests/lsan.supp:print_suppressions=0
export TSAN_OPTIONS=suppressions=$root/tests/tsan.supp:second_deadlock_stack=1

failed=()
# stage PRESET TARGET [CTEST ARGUMENT...]: build, then test; a failure is kept for the end.
stage() {
  local preset=$1 target=$2 started=$SECONDS
  shift 2
  echo "== $preset: build ${target:-all}"
  # shellcheck disable=SC2086  # an empty target means all
  if ! deploy/build.sh "$preset" $target; then
    failed+=("$preset: build")
    return
  fi
  echo "== $preset: test ${*}"
  if ! ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --no-tests=error "$@"; then
    failed+=("$preset: tests")
  fi
  echo "== $preset: $((SECONDS - started)) s"
}

case $mode in
  label)
    export KEYHOP_MODEL=1
    stage release "" -L "$label"
    ;;
  default)
    stage release "" -LE '^long$'
    stage asan-ubsan keyhop_sanitizer_tests -L '^sanitize$'
    ;;
  full)
    export KEYHOP_MODEL=1
    stage release ""
    # What lint says does not depend on the compiler's flags.
    stage asan-ubsan "" -LE '^lint$'
    stage tsan keyhop_thread_tests -L '^own_threads$'
    ;;
esac

if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED %s\n' "${failed[@]}"
  exit 1
fi
echo "all passed in $SECONDS s"
