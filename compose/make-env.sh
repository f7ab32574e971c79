#!/bin/sh
# Makes what compose.yml needs and no two installations may share: compose/.env with the settings, and
# compose/secrets/ with the passwords and the sealing key. Random bytes come from /dev/urandom. Never overwrites.
#
# usage: make-env.sh [FOLDER]      FOLDER: where to write; the folder of this script if absent
set -eu
umask 077

folder=${1:-$(dirname "$0")}
env_file=$folder/.env
secrets=$folder/secrets

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# random_hex BYTES: that many random bytes as hexadecimal digits.
random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# docker_group: the id of the group that may use the engine's socket. 65534 is a group that may not.
docker_group() {
  if [ -S /var/run/docker.sock ]; then stat -c %g /var/run/docker.sock
  elif getent group docker >/dev/null 2>&1; then getent group docker | cut -d: -f3
  else echo 65534
  fi
}

# write_secret NAME VALUE: a file that containers of any user id may read, in a folder that only its owner may enter.
write_secret() { printf '%s' "$2" >"$new/secrets/$1"; chmod 0444 "$new/secrets/$1"; }

[ -d "$folder" ] || die "$folder is not a folder"
for found in "$env_file" "$secrets"; do
  [ ! -e "$found" ] && [ ! -L "$found" ] ||
    die "$found exists and is left alone; the running services know what is in it. To start anew, remove the
       services with their volumes first, then $env_file and $secrets"
done

new=$(mktemp -d "$folder/.new-env.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

mkdir -m 0700 "$new/secrets"
password=$(random_hex 24); [ "${#password}" -eq 48 ] || die "/dev/urandom gave too little"
write_secret rabbitmq_password "$password"
write_secret redis_password "$(random_hex 24)"
write_secret git_token "$(random_hex 24)"
write_secret sealing_key "$(head -c 32 /dev/urandom | base64 | tr -d '\n')"

cat >"$new/.env" <<END
# Made by make-env.sh for this installation. Holds no password: those are in secrets/, one file each.
COMPOSE_PROJECT_NAME=slipway

# User of RabbitMQ; its password is in secrets/rabbitmq_password. Both count when the broker first starts.
RABBITMQ_USER=slipway-$(random_hex 4)

# Group of the engine's socket. Whoever is in it is root on this machine; see "The socket" in README.md.
DOCKER_GID=$(docker_group)
END

# The settings come last: without them compose.yml refuses to start, so half a set is never used. `ln` fails where
# `mv` would replace a file that another run has just made.
mv -T "$new/secrets" "$secrets" 2>/dev/null || die "$secrets was made by someone else meanwhile"
ln "$new/.env" "$env_file" || die "$env_file was made by someone else meanwhile"
printf 'wrote %s (0600) and %s (0700)\n' "$env_file" "$secrets"
