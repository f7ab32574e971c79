#!/usr/bin/env bash
# Checks the rules between crates against what cargo resolves, for the workspace in the current folder.
# Arguments go to cargo metadata; --locked without any.
set -euo pipefail
rules="$(cd "$(dirname "$0")" && pwd)/check_crates.py"
metadata=$(cargo metadata --format-version 1 "${@:---locked}")
python3 "$rules" <<<"$metadata"
