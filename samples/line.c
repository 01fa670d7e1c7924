// SPDX-License-Identifier: MIT
/*
 * Input from the console.  It is read without waiting: the waiting is done in
 * event_idle(), which wakes for the network and for the time as well.
 */
#include "line.h"
#include "clock.h"
#include "console.h"
#include "error.h"
#include "event.h"
#include "hcall_call.h"

#define CONSOLE 0

enum {
	CTRL_C = 0x03,
	CTRL_D = 0x04,
	BACKSPACE = 0x08,
	ESCAPE = 0x1b,
	DELETE = 0x7f,
};

/* What has been typed and nobody has taken yet: from @first on, @count bytes. */
static uint8_t typed[256];
static uint8_t first; /* after the last comes the first: 8 bits do that */
static uint32_t count;

/*
 * Adds what is there now, as far as there is room.
 *
 * Return: 0; -HCALL_EAGAIN: nothing; -ERR_INPUT_ENDED; an error of the console.
 */
static int read_ahead(void)
{
	uint32_t end = (first + count) % sizeof(typed);
	uint32_t room = (end < first ? first : sizeof(typed)) - end;
	int64_t n;

	if (count == sizeof(typed))
		return 0;
	do {
		n = hcall_console_read(CONSOLE, (uintptr_t)&typed[end], room,
				       HCALL_NOWAIT);
	} while (n == -HCALL_EINTR);
	if (n < 0)
		return (int)n;
	if (n == 0 || n > room)
		return -ERR_INPUT_ENDED;
	count += (uint32_t)n;
	return 0;
}

bool line_cancelled(void)
{
	uint32_t i;

	while (count < sizeof(typed) && !read_ahead())
		;
	for (i = 0; i < count; i++) {
		if (typed[(uint8_t)(first + i)] != CTRL_C)
			continue;
		first = (uint8_t)(first + i + 1);
		count -= i + 1;
		print("^C\n");
		return true;
	}
	return false;
}

/* Return: a byte; -ERR_INPUT_ENDED; an error of the console. */
static int read_byte(void)
{
	while (!count) {
		int error = read_ahead();

		if (error == -HCALL_EAGAIN)
			error = event_idle(CLOCK_NEVER);
		if (error)
			return error;
	}
	count--;
	return typed[first++];
}

/* Eats what follows ESC when an arrow key or the like is pressed. */
static int skip_escape(void)
{
	int byte = read_byte();

	if (byte == '[' || byte == 'O')
		do {
			byte = read_byte();
		} while (byte >= 0 && (byte < '@' || byte > '~'));
	return byte;
}

int line_read(char *line, size_t size)
{
	static bool after_cr; /* CR LF is one end of line */
	bool too_long = false;
	size_t length = 0;

	for (;;) {
		int byte = read_byte();
		bool is_second = byte == '\n' && after_cr;

		after_cr = byte == '\r';
		if (is_second)
			continue;
		if (byte == ESCAPE) {
			byte = skip_escape();
		} else if (byte >= ' ' && byte != DELETE) {
			char c = (char)byte;

			if (length < size - 1) {
				line[length++] = c;
			} else {
				too_long = true;
				c = '\a';
			}
			console_write(&c, 1);
		}
		if (byte == -ERR_INPUT_ENDED && length)
			byte = '\n'; /* a last line without an end */
		if (byte < 0)
			return byte;

		switch (byte) {
		case '\r':
		case '\n':
			line[length] = '\0';
			print("\n");
			return too_long ? -ERR_TOO_LONG : 0;
		case BACKSPACE:
		case DELETE:
			if (!length)
				break;
			/* The rest of a UTF-8 character takes no room. */
			while (--length && (line[length] & 0xc0) == 0x80)
				;
			print("\b \b");
			too_long = false;
			break;
		case CTRL_C:
			print("^C\n");
			return -ERR_CANCELLED;
		case CTRL_D:
			if (!length)
				return -ERR_INPUT_ENDED;
			break;
		}
	}
}
