#!/usr/bin/env bash
# Installs the packages of deploy/packages.txt that are missing; ends at once when all are there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: Keyhop is built on Debian 12: this machine has no dpkg and apt-get." >&2
  exit 1
fi

wanted=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$here/packages.txt")
# shellcheck disable=SC2086  # one word a package
present=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $wanted 2>/dev/null |
  sed -n 's/ installed$//p' | sort -u || true)
missing=$(comm -23 <(sort -u <<<"$wanted") <(printf '%s\n' "$present"))
[ -n "$missing" ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
    echo "setup: packages are missing, and this user may not install them. As root, run:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends" $missing >&2
    exit 1
  fi
  as_root=(sudo)
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

echo "setup: installing" $missing
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
if ! { apt update && apt install -y --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "setup: apt-get could not install:" $missing >&2
  exit 1
fi
