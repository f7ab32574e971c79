#!/bin/sh
# Puts the password from the secret into a configuration file only Redis can read, then becomes Redis. So the password
# is in no argument and in no environment.
#
# usage: start.sh PROGRAM [ARGUMENT...]
set -eu
umask 077

: "${REDIS_CONFIG_FILE:?is not set}"
settings=${SETTINGS_FILE:-/etc/slipway/redis.conf}
password=$(cat "${PASSWORD_FILE:-/run/secrets/redis_password}")
[ -n "$password" ] || { echo "error: the password of Redis is empty; run make-env.sh" >&2; exit 1; }

{
  cat "$settings"
  printf '\nrequirepass %s\n' "$password"
} >"$REDIS_CONFIG_FILE"
unset password
program=$1
shift
exec "$program" "$REDIS_CONFIG_FILE" "$@"
