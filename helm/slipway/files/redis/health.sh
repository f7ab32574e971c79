#!/bin/sh
# Healthy: Redis lets the password in and has read its data. The password reaches redis-cli in its environment.
set -eu
REDISCLI_AUTH=$(cat "${PASSWORD_FILE:-/run/secrets/redis_password}")
export REDISCLI_AUTH
[ "$(redis-cli -p "${REDIS_PORT:-6379}" ping)" = PONG ]
