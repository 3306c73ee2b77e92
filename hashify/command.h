// What all commands do alike: how their reports begin, and how they end.
#pragma once

struct options;

// The exit statuses of hashify. What a signal stopped ends with 128 + the signal. verify: 1 is damage, and
// any error is 2.
enum { EXIT_OK = 0, EXIT_ERRORS = 1, EXIT_DAMAGE = 1, EXIT_FATAL = 2 };

// Begins the JSON object of a report: @key is for the operand. @signal stopped the command; 0: none.
void command_begin_json(const struct options *o, const char *key, int signal);

// Tells why the @command, "hashify gc", ended early: the negative errno @err. 0: it did not.
void command_say_early(const struct options *o, const char *command, int err);

// The exit status of a command that has printed all it has to say: it ended early for @err, or @signal
// stopped it, or else @status.
int command_end(int err, int signal, int status);
