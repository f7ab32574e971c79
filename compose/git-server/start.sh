#!/bin/sh
# Makes the sample repository once, hands the token to lighttpd in a file only it can read, then becomes lighttpd.
#
# usage: start.sh PROGRAM [ARGUMENT...]
set -eu
umask 077

: "${GIT_SERVER_ROOT:?is not set}" "${GIT_SERVER_STATE:?is not set}" "${GIT_SERVER_PORT:?is not set}"
token=$(cat "${TOKEN_FILE:-/run/secrets/git_token}")
[ -n "$token" ] || { echo "error: the token of the Git server is empty; run make-env.sh" >&2; exit 1; }
# `oauth2` is the user that Slipway names beside a token, `git` the one for people.
printf 'oauth2:%s\ngit:%s\n' "$token" "$token" >"$GIT_SERVER_STATE/users"
unset token

sample=$GIT_SERVER_ROOT/demo/site.git
if [ ! -e "$sample" ]; then
  new=$(mktemp -d "$GIT_SERVER_ROOT/.new.XXXXXX")
  cp -R "${SAMPLE_FOLDER:-/usr/share/slipway/demo-site}" "$new/tree"
  git init --quiet --initial-branch=main "$new/tree"
  git -C "$new/tree" add --all
  git -C "$new/tree" -c user.name=Slipway -c user.email=slipway@localhost commit --quiet --message 'A sample site'
  git clone --quiet --bare "$new/tree" "$new/site.git"
  mkdir -p "$GIT_SERVER_ROOT/demo"
  mv -T "$new/site.git" "$sample"
  rm -rf "$new"
fi
exec "$@"
