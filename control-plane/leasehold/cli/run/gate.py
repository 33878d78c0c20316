"""Waits at a gate, then becomes another program, keeping its pid. Run as a script: ``gate.py FD PROGRAM ...``.

A sidecar wants to know the pid of its host before the host does anything, and the host wants to know the address of
its proxy before it does anything. So the pid comes first, waiting here; the environment comes through the pipe ``FD``
as one JSON object; then the program replaces us. A pipe that closes without one means: do not start.

Nothing but the standard library, and little of it: this is on every program's way (20 ms).
"""

import json
import os
import signal
import sys

ABANDONED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127


def main() -> int:
    gate = int(sys.argv[1])
    text = b""
    try:
        while chunk := os.read(gate, 65536):
            text += chunk
    except KeyboardInterrupt:
        return ABANDONED
    os.close(gate)
    if not text:
        return ABANDONED
    program = sys.argv[2]
    # Python ignores these two, and what is ignored stays so in the program.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(program, sys.argv[2:], json.loads(text))  # noqa: S606 - becoming another program is the job
    except OSError as error:
        sys.stderr.write(f"leasehold run: {program}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


if __name__ == "__main__":
    sys.exit(main())
