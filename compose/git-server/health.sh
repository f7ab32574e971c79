#!/bin/sh
# Healthy: the sample repository can be read over HTTP with the token. The token reaches git in its environment.
set -eu
login=$(printf 'git:%s' "$(cat "${TOKEN_FILE:-/run/secrets/git_token}")" | base64 | tr -d '\n')
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader
export GIT_CONFIG_VALUE_0="Authorization: Basic $login"
exec git ls-remote --quiet --exit-code "http://127.0.0.1:$GIT_SERVER_PORT/demo/site.git" HEAD >/dev/null
