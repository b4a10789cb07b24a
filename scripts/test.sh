#!/bin/sh
# All checks, or, with arguments, pytest with them. Every check runs even where one before it failed.
set -u
bin=.venv/bin
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
export ROS_DOMAIN_ID="${ROS_DOMAIN_ID:-$((100 + $$ % 100))}"
# Tiny networks and many processes: more threads only wait for one another.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

if [ $# -gt 0 ]; then exec $bin/python -m pytest "$@"; fi

failed=""
check() {
  echo "== $1"
  shift
  "$@" || failed="$failed $1"
}
check "lint (ruff)" $bin/ruff check .
check "types (mypy)" $bin/mypy
check "layers (import-linter)" $bin/lint-imports
check "tests (pytest)" $bin/python -m pytest
[ -z "$failed" ] && exit 0
echo "failed:$failed" >&2
exit 1
