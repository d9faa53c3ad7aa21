"""Two servers in one daemon: /old and /new, each a folder with a compose project."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compose"))
