// `hashify index`: options in, exit status out.
#pragma once

int cmd_index(int argc, char **argv);
