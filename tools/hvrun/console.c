// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's console.  A file or a pseudo-terminal goes to the module as it
 * is.  "stdio" is two pipes to the module and a relay between them and our
 * stdin and stdout, run by the main thread: it never waits but in poll(), takes
 * from the guest only what stdout has room for, and so loses nothing however
 * slow the reader is.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "hvrun.h"

#define PTY_LAST_CHANCE_MS	500
#define PTY_LAST_CHANCE_STEP_MS 10
#define ROWS_MAX		32767

struct queue {
	size_t start, bytes; /* what is in data */
	uint8_t data[16384];
};

/**
 * struct console - the console and, for stdio, the relay
 * @fd_out, @fd_in: what the module gets
 * @slave:       pty: kept open, so that the module never sees a hang-up
 * @from_guest:  stdio: our end of the pipe behind @fd_out
 * @to_guest:    stdio: our end of the pipe behind @fd_in; -1: stdin is not for
 *               us, or it has ended and all of it is in the pipe
 * @sink:        stdio: stdout, if possible reopened so that it never blocks
 * @sink_bytes:  the most to write to @sink at once
 * @broken:      nobody takes what we write there
 * @terminal:    stdin is one: look for Ctrl-A
 */
struct console {
	enum {
		STDIO,
		PTY,
		FILE_ONLY
	} kind;
	int fd_out, fd_in;
	int slave;
	int from_guest, to_guest;
	int sink;
	size_t sink_bytes;
	bool broken;
	bool terminal, stdin_ended;
	struct escape escape;
	struct queue out, in;
};

bool console_valid(const char *spec)
{
	return !strcmp(spec, "stdio") || !strcmp(spec, "pty") ||
	       !strcmp(spec, "none") || (!strncmp(spec, "file:", 5) && spec[5]);
}

static void make_pipe(int *read_end, int *write_end)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		die("console: no pipe: %s", strerror(errno));
	*read_end = fds[0];
	*write_end = fds[1];
}

/*
 * O_NONBLOCK on stdout itself would be seen by everyone who shares it, so
 * open it anew.  Where that cannot be done, a write of PIPE_BUF bytes after
 * poll() does not block either.
 */
static void open_sink(struct console *con)
{
	struct stat st;

	con->sink = -1;
	con->sink_bytes = sizeof(con->out.data);
	if (fstat(STDOUT_FILENO, &st) == 0 &&
	    (S_ISFIFO(st.st_mode) || isatty(STDOUT_FILENO)))
		con->sink = open("/proc/self/fd/1",
				 O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (con->sink >= 0)
		return;
	con->sink = STDOUT_FILENO;
	if (!S_ISREG(st.st_mode))
		con->sink_bytes = PIPE_BUF;
}

static void open_stdio(struct console *con, bool has_stdin)
{
	con->kind = STDIO;
	con->fd_in = con->to_guest = -1;
	make_pipe(&con->from_guest, &con->fd_out);
	if (has_stdin) {
		make_pipe(&con->fd_in, &con->to_guest);
		con->terminal = isatty(STDIN_FILENO);
	}
	open_sink(con);
}

static void open_pty(struct console *con)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios raw;
	const char *path;

	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0)
		die("console: no pseudo-terminal: %s", strerror(errno));
	path = ptsname(fd);
	con->slave = path ? open(path, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
	if (con->slave < 0 || tcgetattr(con->slave, &raw) < 0)
		die("console: no pseudo-terminal: %s", strerror(errno));
	cfmakeraw(&raw);
	tcsetattr(con->slave, TCSANOW, &raw);
	con->kind = PTY;
	con->fd_out = con->fd_in = fd;
	say("the console is %s", path);
}

static void open_file(struct console *con, const char *path)
{
	struct stat st;

	con->kind = FILE_ONLY;
	con->fd_in = -1;
	con->fd_out = open(
		path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC,
		0666);
	if (con->fd_out < 0 || fstat(con->fd_out, &st) < 0)
		die("console file %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		die("console file %s: is not a regular file", path);
	/* Locked before it is emptied: it may be somebody's disk. */
	if (flock(con->fd_out, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		die("console file %s: is in use by another hvrun, or is a disk of this one",
		    path);
	if (ftruncate(con->fd_out, 0) < 0)
		die("console file %s: %s", path, strerror(errno));
}

struct console *console_open(const char *spec, bool has_stdin)
{
	struct console *con;

	if (!strcmp(spec, "none"))
		return NULL;
	con = calloc(1, sizeof(*con));
	if (!con)
		die("out of memory");
	if (!strcmp(spec, "stdio"))
		open_stdio(con, has_stdin);
	else if (!strcmp(spec, "pty"))
		open_pty(con);
	else
		open_file(con, spec + strlen("file:"));
	return con;
}

void console_fds(const struct console *con, int *fd_out, int *fd_in)
{
	*fd_out = con->fd_out;
	*fd_in = con->fd_in;
}

void console_window(const struct console *con, uint16_t *columns,
		    uint16_t *rows)
{
	struct winsize size = { 0 };

	if (con->kind == STDIO)
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*columns = size.ws_col;
	*rows = size.ws_row < ROWS_MAX ? size.ws_row : ROWS_MAX;
}

void console_raw(const struct console *con)
{
	if (con->kind == STDIO && con->terminal)
		terminal_raw();
}

/* ---- The relay ----------------------------------------------------------- */

static bool try_again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Both ends are non-blocking; false: @fd takes nothing any more. */
static bool queue_write(struct queue *q, int fd, size_t most)
{
	ssize_t n = write(fd, q->data + q->start,
			  q->bytes < most ? q->bytes : most);

	if (n < 0)
		return try_again();
	q->start += n;
	q->bytes -= n;
	if (!q->bytes)
		q->start = 0;
	return true;
}

static void take_from_guest(struct console *con)
{
	ssize_t n = read(con->from_guest, con->out.data, sizeof(con->out.data));

	if (n > 0)
		con->out.bytes = n;
}

static bool put_in(struct queue *in, uint8_t byte)
{
	if (in->start + in->bytes == sizeof(in->data)) {
		memmove(in->data, in->data + in->start, in->bytes);
		in->start = 0;
	}
	if (in->bytes == sizeof(in->data))
		return false;
	in->data[in->start + in->bytes++] = byte;
	return true;
}

/* Like a terminal, beep if there is no room.  Ctrl-A works even then. */
static enum console_verdict take_keys(struct console *con, const uint8_t *keys,
				      size_t count)
{
	bool full = false;

	for (size_t i = 0; i < count; i++) {
		switch (terminal_escape(&con->escape, keys[i])) {
		case ESCAPE_KEY:
			full |= !put_in(&con->in, keys[i]);
			break;
		case ESCAPE_NOTHING:
			break;
		case ESCAPE_LEAVE:
			return CONSOLE_LEAVE;
		}
	}
	if (full)
		terminal_beep();
	return CONSOLE_GOES_ON;
}

static enum console_verdict take_stdin(struct console *con)
{
	struct queue *in = &con->in;
	uint8_t keys[256];
	ssize_t n;

	if (con->terminal)
		n = read(STDIN_FILENO, keys, sizeof(keys));
	else
		n = read(STDIN_FILENO, in->data, sizeof(in->data));
	if (n < 0 && try_again())
		return CONSOLE_GOES_ON;
	if (n <= 0) {
		con->stdin_ended = true;
		return CONSOLE_GOES_ON;
	}
	if (con->terminal)
		return take_keys(con, keys, n);
	in->bytes = n;
	return CONSOLE_GOES_ON;
}

int console_poll(struct console *con, struct pollfd *fds, bool ended)
{
	int n = 0;

	if (!con || con->kind != STDIO || con->broken)
		return 0;
	if (ended && !con->out.bytes)
		take_from_guest(con);
	if (con->out.bytes)
		fds[n++] = (struct pollfd){ con->sink, POLLOUT, 0 };
	else if (!ended)
		fds[n++] = (struct pollfd){ con->from_guest, POLLIN, 0 };
	if (ended || con->to_guest < 0)
		return n;
	if (con->stdin_ended && !con->in.bytes) {
		close(con->to_guest); /* the guest now reads what is left */
		con->to_guest = -1;
		return n;
	}
	if (con->in.bytes)
		fds[n++] = (struct pollfd){ con->to_guest, POLLOUT, 0 };
	if (!con->stdin_ended && (con->terminal || !con->in.bytes))
		fds[n++] = (struct pollfd){ STDIN_FILENO, POLLIN, 0 };
	return n;
}

enum console_verdict console_relay(struct console *con,
				   const struct pollfd *fds, int count)
{
	enum console_verdict verdict = CONSOLE_GOES_ON;

	for (int i = 0; i < count && verdict == CONSOLE_GOES_ON; i++) {
		if (!fds[i].revents)
			continue;
		if (fds[i].fd == con->from_guest) {
			take_from_guest(con);
		} else if (fds[i].fd == con->to_guest) {
			queue_write(&con->in, con->to_guest, SIZE_MAX);
		} else if (fds[i].fd == STDIN_FILENO) {
			verdict = take_stdin(con);
		} else if (!queue_write(&con->out, con->sink,
					con->sink_bytes)) {
			say("stdout takes no more of the guest's output: %s",
			    strerror(errno));
			con->broken = true;
			verdict = CONSOLE_BROKEN;
		}
	}
	return verdict;
}

/* What the slave's queue holds would be lost when the master is closed. */
static void wait_for_pty_reader(const struct console *con)
{
	const struct timespec step = {
		.tv_nsec = PTY_LAST_CHANCE_STEP_MS * 1000000l,
	};
	int queued;

	for (int ms = 0; ms < PTY_LAST_CHANCE_MS;
	     ms += PTY_LAST_CHANCE_STEP_MS) {
		if (ioctl(con->slave, FIONREAD, &queued) < 0 || !queued)
			return;
		nanosleep(&step, NULL);
	}
}

void console_close(struct console *con)
{
	if (con && con->kind == PTY)
		wait_for_pty_reader(con);
	free(con);
}
