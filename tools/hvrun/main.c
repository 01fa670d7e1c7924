// SPDX-License-Identifier: GPL-2.0
/*
 * hvrun: run a guest OS kernel whose devices are hcall calls.  Here is only
 * the choice of the command; each has a file of its own.
 */
#include <argp.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "hvrun.h"

const char *argp_program_version = "hvrun " HVRUN_VERSION;

static const struct command {
	const char *name;
	char *title; /* argv[0] for messages about its options */
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", "hvrun run", run_command },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	int *status = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		for (size_t i = 0; i < sizeof(commands) / sizeof(*commands);
		     i++) {
			if (strcmp(arg, commands[i].name))
				continue;
			state->argv[state->next - 1] = commands[i].title;
			*status =
				commands[i].run(state->argc - state->next + 1,
						state->argv + state->next - 1);
			state->next = state->argc;
			return 0;
		}
		argp_error(state,
			   "'%s' is no command; to run a kernel: "
			   "hvrun run -- KERNEL [ARGS...]",
			   arg);
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "what to do? To run a kernel: "
				  "hvrun run -- KERNEL [ARGS...]");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse_option,
	.args_doc = "run [OPTION...] -- KERNEL [ARGS...]",
	.doc = "Run a guest OS kernel whose devices are calls to the host.\v"
	       "Commands:\n"
	       "  run    start a kernel in a virtual machine; "
	       "see hvrun run --help",
};

/* A descriptor 0, 1 or 2 that is closed would be given to the next open(). */
static void open_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(HVRUN_FAILED);
}

int main(int argc, char **argv)
{
	int status = 0;

	open_standard_fds();
	argp_err_exit_status = HVRUN_FAILED;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &status);
	return status;
}
