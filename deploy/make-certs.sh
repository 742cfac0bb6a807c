#!/usr/bin/env bash
# Makes the certificates and pre-shared keys of a Keyhop network, with the OpenSSL command line.
#
#   deploy/make-certs.sh DIR [--host HOST]... [--node ID]... [--module ID]... [--sae ID]...
#                            [--operator NAME]... [--link ID]...
#
# --host names one more host (DNS name or IP address) for the certificates of the nodes that follow;
# localhost, 127.0.0.1 and ::1 are always in. What is there already is kept: run it again with more
# IDs to add them. Certificates are P-256; private keys and pre-shared keys have mode 0600.
#
#   DIR/node-ca.crt      trust store for nodes and QKD modules (Kx, Kq-1), also what an SAE verifies
#                        nodes with
#   DIR/sae-ca.crt       trust store for SAEs (Ak)
#   DIR/operator-ca.crt  trust store for operators (admin, metrics)
#   DIR/ca/*.key         the keys of the three; no daemon needs them
#   DIR/nodes/ID/node.crt, node.key, kek      URI SAN keyhop://node/ID; kek: 32 bytes as hex
#   DIR/modules/ID/module.crt, module.key     URI SAN keyhop://module/ID, issued by the node CA
#   DIR/saes/ID/sae.crt, sae.key              URI SAN keyhop://sae/ID, CN = ID
#   DIR/operators/NAME/operator.crt, operator.key
#   DIR/links/ID.key     pre-shared key of a link: 32 bytes as hex, the same at both ends
#
# In file names and URIs an ID is percent-encoded, all but letters, digits, `-`, `_` and `.`.
set -euo pipefail
export LC_ALL=C
umask 077

usage() {
  sed -n '2,/^set -euo/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
[ $# -ge 1 ] && [[ $1 != -* ]] || usage
dir=$1
shift

days_ca=3650
days=825

# percent_encode TEXT -> REPLY; a leading dot too, so that no ID is a path.
percent_encode() {
  local text=$1 i c
  REPLY=
  for ((i = 0; i < ${#text}; i++)); do
    c=${text:i:1}
    if [[ $c == [A-Za-z0-9_-] || ($c == . && $i -gt 0) ]]; then
      REPLY+=$c
    else
      printf -v c '%%%02X' "'$c"
      REPLY+=%${c: -2}
    fi
  done
}

# subject TEXT -> REPLY: the argument of -subj. A common name holds at most 64 characters; a longer
# ID is in the URI only.
subject() {
  local characters
  characters=$(printf %s "$1" | LC_ALL=C.UTF-8 wc -m)
  if [ "$characters" -gt 64 ]; then
    REPLY=/O=Keyhop
  else
    REPLY=${1//\\/\\\\}
    REPLY=${REPLY//\//\\/}
    REPLY=/O=Keyhop/CN=${REPLY//+/\\+}
  fi
}

# run_openssl ARG...: quiet, unless it fails.
run_openssl() {
  local said
  if ! said=$(openssl "$@" 2>&1); then
    printf 'make-certs: openssl failed: %s\n%s\n' "$*" "$said" >&2
    exit 1
  fi
}

# make_ca NAME: DIR/NAME-ca.crt and DIR/ca/NAME-ca.key.
make_ca() {
  local crt=$dir/$1-ca.crt key=$dir/ca/$1-ca.key
  [ ! -s "$crt" ] || [ ! -s "$key" ] || return 0
  run_openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days_ca" \
    -config "$dir/ca/openssl.cnf" -extensions ca -subj "/O=Keyhop/CN=Keyhop $1 CA" \
    -keyout "$key.new" -out "$crt.new"
  mv "$key.new" "$key"
  chmod 644 "$crt.new"
  mv "$crt.new" "$crt"
}

# issue CA FOLDER NAME ID SAN: a key and its certificate in one call.
issue() {
  local ca=$1 folder=$2 name=$3 id=$4 san=$5
  [ ! -s "$folder/$name.crt" ] || [ ! -s "$folder/$name.key" ] || return 0
  mkdir -p "$folder"
  subject "$id"
  run_openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" -utf8 \
    -config "$dir/ca/openssl.cnf" -extensions leaf -addext "subjectAltName=$san" -subj "$REPLY" \
    -CA "$dir/$ca-ca.crt" -CAkey "$dir/ca/$ca-ca.key" \
    -keyout "$folder/$name.key" -out "$folder/$name.crt.new"
  chmod 644 "$folder/$name.crt.new"
  mv "$folder/$name.crt.new" "$folder/$name.crt"
}

# key_file PATH: 32 random bytes as hex.
key_file() {
  [ ! -s "$1" ] || return 0
  mkdir -p "$(dirname "$1")"
  run_openssl rand -hex -out "$1.new" 32
  mv "$1.new" "$1"
}

mkdir -p "$dir/ca"
# Two that run at once in one folder would each make a CA.
exec 9>"$dir/ca/.lock"
flock 9
cat >"$dir/ca/openssl.cnf" <<'CONF'
[req]
distinguished_name = dn
string_mask = utf8only
[dn]
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CONF
for ca in node sae operator; do make_ca "$ca"; done

hosts=DNS:localhost,IP:127.0.0.1,IP:::1
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] && [ -n "$2" ] || usage
  id=$2
  percent_encode "$id"
  name=$REPLY
  case $1 in
    --host)
      if [[ $id =~ ^[0-9.]+$ || $id == *:* ]]; then hosts+=,IP:$id; else hosts+=,DNS:$id; fi
      ;;
    --node)
      issue node "$dir/nodes/$name" node "$id" "URI:keyhop://node/$name,$hosts"
      key_file "$dir/nodes/$name/kek"
      ;;
    --module) issue node "$dir/modules/$name" module "$id" "URI:keyhop://module/$name" ;;
    --sae) issue sae "$dir/saes/$name" sae "$id" "URI:keyhop://sae/$name" ;;
    --operator)
      issue operator "$dir/operators/$name" operator "$id" "URI:keyhop://operator/$name"
      ;;
    --link) key_file "$dir/links/$name.key" ;;
    *) usage ;;
  esac
  shift 2
done
