#!/bin/sh
# All checks, or, with arguments, pytest with them. Every check runs even where one before it failed.
set -u
bin=.venv/bin
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
# Two processes; the tests of a file stay in one, with what they share.
check "tests (pytest)" $bin/python -m pytest -n "${TEST_PROCESSES:-2}" --dist loadfile
[ -z "$failed" ] && exit 0
echo "failed:$failed" >&2
exit 1
