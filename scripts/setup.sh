#!/bin/sh
# Finds a Python that fits and lets setup_env.py do the work. PYTHON=... names one by hand.
set -eu
here=$(dirname "$0")

fits() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

# Where a ROS is sourced, its modules are made for its own python3 and for no other.
if [ -n "${PYTHON:-}" ]; then candidates=$PYTHON
elif [ -n "${ROS_DISTRO:-}" ]; then candidates=python3
else candidates="python3.11 python3.12 python3"
fi

for python in $candidates; do
  if fits "$python"; then exec "$python" "$here/setup_env.py" "$@"; fi
done
echo "make setup needs Python 3.11 or 3.12 and found neither as $candidates:" \
  "install one (sudo apt install python3.11 python3.11-venv python3.11-dev) or name it with PYTHON=/path/to/python." >&2
exit 1
