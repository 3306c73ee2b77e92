"""Prints the files that match a pattern below this folder, one a line, for meson."""
import glob
import os
import sys

os.chdir(os.path.dirname(os.path.abspath(__file__)))
print("\n".join(sorted(glob.glob(sys.argv[1]))))
