"""``python -m leasehold.sidecar.explain``: a ``Trial`` on standard input, an ``Explanation`` on standard output.

Exit codes: 0 explained, 2 the question cannot be understood, 78 the rules cannot.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from leasehold.protocol.configuration import EX_CONFIG, BadConfiguration
from leasehold.protocol.trials import Trial
from leasehold.sidecar.explain.trial import explain

_EX_USAGE: Final = 2


def main() -> int:
    try:
        found = explain(msgspec.json.decode(sys.stdin.buffer.read(), type=Trial))
    except BadConfiguration as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    except ValueError as error:  # msgspec's errors are of this kind, too
        sys.stderr.write(f"{error}\n")
        return _EX_USAGE
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
