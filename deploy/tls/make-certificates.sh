#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# deploy/tls/make-certificates.sh DIR [--server NAME[,NAME...]] [--worker ID[,ID...]]... [--days N]
# A small certificate authority for a lab, and what forall's programs need from it (docs/security.md).
#
#   DIR       ca.pem and ca.key, made when they are not there; whatever else is made comes beside them
#   --server  server.pem and server.key for a controller that is reached by these names or addresses
#   --worker  worker-ID.pem and worker-ID.key for the first ID; the certificate may act as all IDs of
#             the list, and 'lab-*' stands for every worker whose id begins with lab-. May be repeated
#   --days    how long they last (default 365; the authority lasts ten years)
#
# Run again, it makes what is asked for anew and leaves the rest: that is how certificates are renewed.
# Programs that run read them again by themselves. ca.key signs whatever it likes: keep it off the
# controller's machine and give out ca.pem alone.
set -euo pipefail

fail() {
  echo "make-certificates.sh: $*" >&2
  exit 2
}

usage() { sed -n '3,4s/^# //p' "${BASH_SOURCE[0]}" >&2 && exit 2; }

command -v openssl >/dev/null || fail "openssl is not installed (Debian: apt-get install openssl)"
(($# > 0)) || usage
directory=$1
[[ $directory != -* ]] || usage
shift
servers=""
workers=()
days=365
while (($# > 0)); do
  (($# > 1)) || fail "$1: a value is missing"
  case $1 in
    --server) servers=$2 ;;
    --worker) workers+=("$2") ;;
    --days)
      [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || fail "--days: want a number from 1 to 99999, got $2"
      days=$2
      ;;
    *) fail "unknown argument $1" ;;
  esac
  shift 2
done
[[ -n $servers || ${#workers[@]} -gt 0 ]] || fail "nothing to make: give --server or --worker"

umask 077
mkdir -p "$directory"
scratch=$(mktemp -d "$directory/.new-XXXXXX")
trap 'rm -rf "$scratch"' EXIT

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [[ ! -e $directory/ca.pem ]]; then
  [[ ! -e $directory/ca.key ]] || fail "$directory has ca.key but no ca.pem: put it back, or move the key away"
  new_key "$scratch/ca.key"
  printf '%s\n' '[req]' 'distinguished_name = name' 'x509_extensions = ca' 'prompt = no' \
    '[name]' 'CN = forall CA' \
    '[ca]' 'basicConstraints = critical,CA:TRUE,pathlen:0' 'keyUsage = critical,keyCertSign,cRLSign' \
    'subjectKeyIdentifier = hash' >"$scratch/ca.cnf"
  openssl req -x509 -new -config "$scratch/ca.cnf" -key "$scratch/ca.key" -sha256 -days 3650 \
    -out "$scratch/ca.pem"
  mv "$scratch/ca.key" "$directory/ca.key"
  chmod 0644 "$scratch/ca.pem"
  mv "$scratch/ca.pem" "$directory/ca.pem"
  echo "made $directory/ca.pem and $directory/ca.key"
fi
[[ -r $directory/ca.key ]] || fail "$directory/ca.key cannot be read: certificates are made where it is kept"

# issue NAME USAGE ALTERNATIVE_NAMES
issue() {
  local name=$1
  new_key "$scratch/$name.key"
  printf '%s\n' '[req]' 'distinguished_name = name' 'prompt = no' '[name]' "CN = forall $name" \
    >"$scratch/request.cnf"
  printf '%s\n' 'basicConstraints = critical,CA:FALSE' 'keyUsage = critical,digitalSignature' \
    "extendedKeyUsage = $2" "subjectAltName = $3" >"$scratch/extensions"
  openssl req -new -config "$scratch/request.cnf" -key "$scratch/$name.key" -out "$scratch/request"
  openssl x509 -req -in "$scratch/request" -CA "$directory/ca.pem" -CAkey "$directory/ca.key" \
    -set_serial "0x$(openssl rand -hex 16)" -days "$days" -sha256 -extfile "$scratch/extensions" \
    -out "$scratch/$name.pem" 2>/dev/null
  chmod 0644 "$scratch/$name.pem"
  mv "$scratch/$name.key" "$directory/$name.key"
  mv "$scratch/$name.pem" "$directory/$name.pem"
  echo "made $directory/$name.pem and $directory/$name.key, for $3, $days days"
}

if [[ -n $servers ]]; then
  names=""
  IFS=, read -ra list <<<"$servers"
  for name in "${list[@]}"; do
    if [[ $name =~ ^[0-9]+(\.[0-9]+){3}$ || $name == *:* ]]; then
      names+=",IP:$name"
    elif [[ $name =~ ^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ ]]; then
      names+=",DNS:$name"
    else
      fail "--server: \"$name\" is no host name or address"
    fi
  done
  issue server serverAuth "${names#,}"
fi
for group in "${workers[@]}"; do
  names=""
  IFS=, read -ra list <<<"$group"
  for id in "${list[@]}"; do
    [[ $id =~ ^[a-z0-9][a-z0-9._-]{0,62}\*?$ ]] ||
      fail "--worker: \"$id\" is no worker's id (lower-case letters, digits, '-', '_' and '.'; a '*' at the end stands for all that begin so)"
    names+=",URI:forall:worker/$id"
  done
  issue "worker-${list[0]//\*/any}" clientAuth "${names#,}"
done
