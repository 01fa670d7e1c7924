// SPDX-License-Identifier: GPL-2.0
/*
 * A keyboard for the guest that is typed on by our stdin: bytes become
 * keystrokes, and these become events in a pipe to the module.  The main thread
 * does it, and never waits but in poll().
 *
 * A guest that reads no events fills the pipe.  A terminal's keys are then
 * dropped, whole keystrokes only, and the guest is told with SYN_DROPPED, as an
 * evdev device does.  What is not a terminal can wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "hvrun.h"

/* An Esc with nothing behind it for so long is no escape sequence. */
#define ESC_TIMEOUT_MS 50

/**
 * struct keyboard - the relay
 * @fd_in:    what the module gets
 * @to_guest: our end of it
 * @timer:    timerfd, runs while @decoder has seen half a sequence
 * @bytes:    what was read; up to @start it has been decoded
 * @held:     a keystroke that has to wait for room, if @is_held
 * @dropped:  keystrokes were lost, and the guest does not know it yet
 */
struct keyboard {
	int fd_in, to_guest;
	int timer;
	bool terminal, ended;
	struct escape escape;
	struct key_decoder decoder;
	uint8_t data[256];
	size_t start, bytes;
	bool is_held, dropped;
	struct keystroke held;
};

struct keyboard *keyboard_open(void)
{
	struct keyboard *kbd = calloc(1, sizeof(*kbd));
	int fds[2];

	if (!kbd)
		die("out of memory");
	kbd->timer =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (kbd->timer < 0 || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		die("keyboard: %s", strerror(errno));
	kbd->fd_in = fds[0];
	kbd->to_guest = fds[1];
	kbd->terminal = isatty(STDIN_FILENO);
	return kbd;
}

int keyboard_fd(const struct keyboard *kbd)
{
	return kbd->fd_in;
}

void keyboard_raw(const struct keyboard *kbd)
{
	if (kbd->terminal)
		terminal_raw();
}

/* All or nothing, as it is less than PIPE_BUF. */
static bool write_events(const struct keyboard *kbd,
			 const struct hcall_input_event *events,
			 unsigned int count)
{
	return write(kbd->to_guest, events, count * sizeof(*events)) > 0;
}

static bool tell_dropped(struct keyboard *kbd)
{
	static const struct hcall_input_event dropped[] = {
		{ EV_SYN, SYN_DROPPED, 0 },
		{ EV_SYN, SYN_REPORT, 0 },
	};

	if (kbd->dropped && write_events(kbd, dropped, 2))
		kbd->dropped = false;
	return !kbd->dropped;
}

static void put_stroke(struct keyboard *kbd, const struct keystroke *stroke)
{
	struct hcall_input_event events[KEYS_MAX_EVENTS];
	unsigned int count = keys_events(stroke, events);

	if (tell_dropped(kbd) && write_events(kbd, events, count))
		return;
	if (kbd->terminal) {
		kbd->dropped = true;
		return;
	}
	kbd->is_held = true;
	kbd->held = *stroke;
}

/* What was read and not decoded yet, as far as there is room. */
static enum console_verdict decode(struct keyboard *kbd)
{
	bool was_dropping = kbd->dropped;
	struct keystroke stroke;

	while (kbd->start < kbd->bytes && !kbd->is_held) {
		uint8_t byte = kbd->data[kbd->start++];

		if (kbd->terminal) {
			switch (terminal_escape(&kbd->escape, byte)) {
			case ESCAPE_KEY:
				break;
			case ESCAPE_NOTHING:
				continue;
			case ESCAPE_LEAVE:
				return CONSOLE_LEAVE;
			}
		}
		if (keys_decode(&kbd->decoder, byte, &stroke))
			put_stroke(kbd, &stroke);
	}
	if (kbd->dropped && !was_dropping)
		terminal_beep();
	return CONSOLE_GOES_ON;
}

static void set_timer(struct keyboard *kbd)
{
	struct itimerspec when = { 0 };

	if (keys_waiting(&kbd->decoder))
		when.it_value.tv_nsec = ESC_TIMEOUT_MS * 1000000l;
	timerfd_settime(kbd->timer, 0, &when, NULL);
}

static void time_out(struct keyboard *kbd)
{
	struct keystroke stroke;
	uint64_t times;

	if (read(kbd->timer, &times, sizeof(times)) > 0 &&
	    keys_timeout(&kbd->decoder, &stroke))
		put_stroke(kbd, &stroke);
}

static enum console_verdict take_stdin(struct keyboard *kbd)
{
	ssize_t n = read(STDIN_FILENO, kbd->data, sizeof(kbd->data));
	enum console_verdict verdict;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CONSOLE_GOES_ON;
	if (n <= 0) {
		kbd->ended = true; /* the keyboard stays, nobody types */
		return CONSOLE_GOES_ON;
	}
	kbd->start = 0;
	kbd->bytes = n;
	verdict = decode(kbd);
	set_timer(kbd);
	return verdict;
}

static enum console_verdict use_room(struct keyboard *kbd)
{
	enum console_verdict verdict = CONSOLE_GOES_ON;

	if (kbd->is_held) {
		kbd->is_held = false;
		put_stroke(kbd, &kbd->held);
		verdict = decode(kbd);
		set_timer(kbd);
	} else {
		tell_dropped(kbd);
	}
	return verdict;
}

int keyboard_poll(const struct keyboard *kbd, struct pollfd *fds)
{
	int n = 0;

	if (!kbd)
		return 0;
	if (kbd->is_held || kbd->dropped)
		fds[n++] = (struct pollfd){ kbd->to_guest, POLLOUT, 0 };
	if (!kbd->is_held)
		fds[n++] = (struct pollfd){ kbd->timer, POLLIN, 0 };
	if (!kbd->is_held && !kbd->ended)
		fds[n++] = (struct pollfd){ STDIN_FILENO, POLLIN, 0 };
	return n;
}

enum console_verdict keyboard_relay(struct keyboard *kbd,
				    const struct pollfd *fds, int count)
{
	enum console_verdict verdict = CONSOLE_GOES_ON;

	for (int i = 0; i < count && verdict == CONSOLE_GOES_ON; i++) {
		if (!fds[i].revents)
			continue;
		if (fds[i].fd == kbd->to_guest)
			verdict = use_room(kbd);
		else if (fds[i].fd == kbd->timer)
			time_out(kbd);
		else if (!kbd->is_held)
			verdict = take_stdin(kbd);
	}
	return verdict;
}
