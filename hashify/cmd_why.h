// `hashify why`: options in, exit status out.
#pragma once

int cmd_why(int argc, char **argv);
