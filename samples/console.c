// SPDX-License-Identifier: MIT
/*
 * The console.  Output is written whole, one call for each print(); it has no
 * result to check, an error is kept for console_error().
 */
#include <stdarg.h>

#include "console.h"
#include "error.h"
#include "hcall_call.h"
#include "string.h"

#define CONSOLE 0

static int write_error;

void console_write(const void *data, size_t bytes)
{
	int64_t error =
		hcall_console_write_all(CONSOLE, (uintptr_t)data, bytes);

	if (error && !write_error)
		write_error = (int)error;
}

int console_error(void)
{
	int error = write_error;

	write_error = 0;
	return error;
}

/* ---- Formatting -------------------------------------------------------- */

struct output {
	char buffer[256];
	size_t used;
};

static void put(struct output *out, char c)
{
	if (out->used == sizeof(out->buffer)) {
		console_write(out->buffer, out->used);
		out->used = 0;
	}
	out->buffer[out->used++] = c;
}

static void put_padded(struct output *out, const char *s, size_t length,
		       size_t width, bool left, char pad)
{
	size_t padding = width > length ? width - length : 0;

	for (; padding && !left; padding--)
		put(out, pad);
	while (length--)
		put(out, *s++);
	for (; padding; padding--)
		put(out, ' ');
}

/* Writes @value backwards from @end; returns the first digit. */
static char *to_digits(char *end, uint64_t value, unsigned int base)
{
	do {
		*--end = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	return end;
}

void print(const char *format, ...)
{
	struct output out = { .used = 0 };
	va_list args;

	va_start(args, format);
	for (; *format; format++) {
		char digits[24], *end = digits + sizeof(digits), *s = end;
		bool left = false, is_long = false;
		size_t width = 0;
		char pad = ' ';

		if (*format != '%') {
			put(&out, *format);
			continue;
		}
		if (*++format == '-') {
			left = true;
			format++;
		}
		if (*format == '0')
			pad = '0';
		while (*format >= '0' && *format <= '9')
			width = width * 10 + (size_t)(*format++ - '0');
		if (*format == 'l') {
			is_long = true;
			format++;
		}

		switch (*format) {
		case 's':
			s = va_arg(args, char *);
			end = s + strlen(s);
			break;
		case 'u':
		case 'x':
			s = to_digits(end,
				      is_long ? va_arg(args, unsigned long)
					      : va_arg(args, unsigned int),
				      *format == 'x' ? 16 : 10);
			break;
		default:
			*--s = *format;
			break;
		}
		put_padded(&out, s, (size_t)(end - s), width, left, pad);
	}
	va_end(args);
	if (out.used)
		console_write(out.buffer, out.used);
}

/* ---- Input ------------------------------------------------------------- */

enum {
	CTRL_C = 0x03,
	CTRL_D = 0x04,
	BACKSPACE = 0x08,
	ESCAPE = 0x1b,
	DELETE = 0x7f,
};

/* Return: a byte; -ERR_INPUT_ENDED; an error of the console. */
static int read_byte(void)
{
	static uint8_t typed[256];
	static uint32_t next, count;

	while (next == count) {
		int64_t n = hcall_console_read(CONSOLE, (uintptr_t)typed,
					       sizeof(typed), 0);

		if (n == -HCALL_EAGAIN || n == -HCALL_EINTR)
			continue; /* we slept until now: look again */
		if (n == 0 || n > (int64_t)sizeof(typed))
			return -ERR_INPUT_ENDED;
		if (n < 0)
			return (int)n;
		next = 0;
		count = (uint32_t)n;
	}
	return typed[next++];
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

int console_read_line(char *line, size_t size)
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
