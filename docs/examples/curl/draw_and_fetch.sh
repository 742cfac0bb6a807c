#!/usr/bin/env bash
# Draws a key over REST (ETSI GS QKD 014) as the master and fetches it as the slave, with curl.
#
#   MASTER_NODE=HOST:PORT SLAVE_NODE=HOST:PORT CA=FILE \
#   MASTER=ID MASTER_CERT=FILE MASTER_KEY=FILE SLAVE=ID SLAVE_CERT=FILE SLAVE_KEY=FILE \
#   draw_and_fetch.sh
#
# Prints the key_ID and whether both ends hold the same key. The key itself stays in this shell:
# no command line carries it, no file holds it.
set -euo pipefail

# ask CERT KEY URL: the answer. When it was lost the same request is made again under the same
# Idempotency-Key: the node then gives the same answer and draws no second key.
ask() {
  local name answer ended=0
  name=$(</proc/sys/kernel/random/uuid)
  for _ in 1 2 3; do
    answer=$(curl --silent --show-error --fail-with-body --max-time 10 --cacert "$CA" \
      --cert "$1" --key "$2" --header "Idempotency-Key: $name" "$3") && ended=0 || ended=$?
    case $ended in
      0) printf '%s\n' "$answer"; return ;;
      22) printf '%s\n' "$answer" >&2; return 1 ;;  # The node itself said no, and why.
    esac
  done
  return "$ended"
}

drawn=$(ask "$MASTER_CERT" "$MASTER_KEY" \
  "https://$MASTER_NODE/api/v1/keys/$SLAVE/enc_keys?number=1&size=256")
key_id=$(printf '%s' "$drawn" | jq --raw-output '.keys[0].key_ID')

# The master tells its partner the key_ID, which is no secret; here both are this script.
fetched=$(ask "$SLAVE_CERT" "$SLAVE_KEY" \
  "https://$SLAVE_NODE/api/v1/keys/$MASTER/dec_keys?key_ID=$key_id")

if [ "$(printf '%s' "$drawn" | jq '.keys[0].key')" != \
  "$(printf '%s' "$fetched" | jq '.keys[0].key')" ]; then
  echo "$key_id: the keys differ" >&2
  exit 1
fi
echo "$key_id: $MASTER and $SLAVE hold the same key"
