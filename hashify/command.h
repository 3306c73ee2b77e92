// What all commands do alike: how their reports begin, and how they end.
#pragma once

struct options;

// The exit statuses of hashify. What a signal stopped ends with 128 + the signal. verify: 1 is damage, and
// any error is 2.
enum { EXIT_OK = 0, EXIT_ERRORS = 1, EXIT_DAMAGE = 1, EXIT_FATAL = 2 };

// Begins the JSON object that a command prints: @key is for the operand.
void command_open_json(const struct options *o, const char *key);

// The same of what may change something: @signal stopped the command; 0: none.
void command_begin_json(const struct options *o, const char *key, int signal);

// Tells why the @command, "hashify gc", ended early: the negative errno @err. 0: it did not.
void command_say_early(const struct options *o, const char *command, int err);

// The last thing that is done with the exit status of a command, which is returned: if it failed before it
// had anything to tell, and its arguments ask for JSON, they get an object with what was said.
int command_tell_failure(int status, int argc, char **argv);

// The exit status of a command that has printed all it has to say: it ended early for @err, or @signal
// stopped it, or else @status.
int command_end(int err, int signal, int status);
