"""Guests a, b and c of one pool, natively and through their mounts, for programs that mount.sh's on_guests runs."""
import os
import sys

import cases
import inventory
from cases import expect


class Guests:
    def __init__(self, pool, mounts, mode="passthrough"):
        self.pool, self.mounts, self.mode = pool, mounts, mode
        self.kind = os.environ["FS_KIND"]
        self.others = {g: self._look(g) for g in "bc"}

    def _look(self, guest):
        return inventory.inventory(self.pool + "/" + guest, hardlinks=False)

    def mounted(self, rel, guest="a"):
        return "%s/%s/%s" % (self.mounts, guest, rel)

    def native(self, rel, guest="a"):
        return "%s/%s/%s" % (self.pool, guest, rel)

    def expect_link(self, rel, guest="a"):
        expect(os.lstat(self.native(rel, guest)).st_nlink > 1, guest, rel, "is no link, this proves nothing")

    def expect_others_untouched(self, *rels):
        """Guests b and c are bit-identical to what they were, and still have these links."""
        for g in "bc":
            now = self._look(g)
            changed = [k for k in now.keys() | self.others[g].keys() if now.get(k) != self.others[g].get(k)]
            expect(not changed, "CHANGED ANOTHER GUEST:", g, changed)
            for rel in rels:
                self.expect_link(rel, g)


def main(seed):
    """The command line that on_guests gives to a program."""
    if sys.argv[1] == "seed":
        seed(sys.argv[2])
        return 0
    return cases.run(Guests(*sys.argv[2:]))
