// SPDX-License-Identifier: GPL-2.0
/*
 * The user's terminal on stdin: keys reach the guest one by one as they are
 * typed, and the former state comes back on every exit().  Output is left as
 * it was set up, so a plain newline of the guest still starts a new line.
 * Ctrl-A begins what is for us.
 */
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "hvrun.h"

#define CTRL_A 0x01
#define ESCAPE_HELP                                       \
	"Ctrl-A X leaves, Ctrl-A Ctrl-A sends a Ctrl-A, " \
	"Ctrl-A H shows this"

static struct termios before;
static bool is_raw;

void terminal_restore(void)
{
	sigset_t ttou, mask;

	if (!is_raw)
		return;
	/* In the background, too, we put back what we changed. */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &mask);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	is_raw = false;
}

void terminal_raw(void)
{
	static bool registered;
	struct termios raw;

	/* The shell may have changed it while we were stopped: set it again. */
	if (!is_raw && tcgetattr(STDIN_FILENO, &before) < 0)
		return;
	if (!registered)
		atexit(terminal_restore);
	registered = true;
	raw = before;
	cfmakeraw(&raw);
	raw.c_oflag = before.c_oflag;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0)
		is_raw = true;
}

void terminal_beep(void)
{
	if (write(STDERR_FILENO, "\a", 1) < 0)
		return; /* nobody to hear it */
}

enum escape_verdict terminal_escape(struct escape *escape, uint8_t key)
{
	if (!escape->pending && key == CTRL_A) {
		escape->pending = true;
		return ESCAPE_NOTHING;
	}
	if (!escape->pending || key == CTRL_A) {
		escape->pending = false;
		return ESCAPE_KEY;
	}
	escape->pending = false;
	if (key == 'x' || key == 'X')
		return ESCAPE_LEAVE;
	say(ESCAPE_HELP);
	return ESCAPE_NOTHING;
}
