"""PESQ alone in a process, for signals that may crash its C code.

Run as a file: ``python _pesq_process.py RATE BAND`` with both signals, as float64, one after the other on standard
input. It prints the score, or, with exit code 3, the name of PESQ's error.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Score what comes in on standard input."""
    import numpy as np
    from pesq import PesqError, pesq

    reference, estimate = np.frombuffer(sys.stdin.buffer.read()).reshape(2, -1)
    try:
        print(float(pesq(int(sys.argv[1]), reference, estimate, sys.argv[2])))
    except PesqError as error:
        print(type(error).__name__)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
