"""`python -m pi0_ros.data.recording_program SOCKET MEMORY`: a recorder's process that writes, which only it starts."""

import sys

from pi0_ros.data.recording_process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
