"""The program that attacks a bottle from inside: `python3 probes.py FACTS`. Its folder holds all it needs."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import attack_files  # noqa: F401 - importing registers its probes
import attack_kernel  # noqa: F401 - importing registers its probes
import attack_network  # noqa: F401 - importing registers its probes
import kit

if __name__ == "__main__":
    kit.main(sys.argv[1])
