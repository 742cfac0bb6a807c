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

# ask CERT KEY URL: the answer, or an end with the node's message. Never repeated: a second draw would
# be a second key, and a key is fetched once.
ask() {
  curl --silent --show-error --fail-with-body --max-time 10 --cacert "$CA" --cert "$1" --key "$2" "$3"
}

drawn=$(ask "$MASTER_CERT" "$MASTER_KEY" \
  "https://$MASTER_NODE/api/v1/keys/$SLAVE/enc_keys?number=1&size=256")
key_id=$(jq --raw-output '.keys[0].key_ID' <<<"$drawn")

# The master tells its partner the key_ID, which is no secret; here both are this script.
fetched=$(ask "$SLAVE_CERT" "$SLAVE_KEY" \
  "https://$SLAVE_NODE/api/v1/keys/$MASTER/dec_keys?key_ID=$key_id")

if [ "$(jq '.keys[0].key' <<<"$drawn")" != "$(jq '.keys[0].key' <<<"$fetched")" ]; then
  echo "$key_id: the keys differ" >&2
  exit 1
fi
echo "$key_id: $MASTER and $SLAVE hold the same key"
