#!/bin/sh
# Puts the user and the password from the secret into a configuration file only the broker can read, then becomes the
# broker. So the password is in no argument and in no environment.
#
# usage: start.sh PROGRAM [ARGUMENT...]
set -eu
umask 077

: "${RABBITMQ_USER:?is not set}" "${RABBITMQ_CONFIG_FILE:?is not set}"
settings=${SETTINGS_FILE:-/etc/slipway/rabbitmq.conf}
password=$(cat "${PASSWORD_FILE:-/run/secrets/rabbitmq_password}")
[ -n "$password" ] || { echo "error: the password of RabbitMQ is empty; run make-env.sh" >&2; exit 1; }

{
  cat "$settings"
  printf '\ndefault_user = %s\ndefault_pass = %s\n' "$RABBITMQ_USER" "$password"
} >"$RABBITMQ_CONFIG_FILE"
unset password
exec "$@"
