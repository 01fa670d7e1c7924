// SPDX-License-Identifier: MIT
/*
 * Output on the console.  It is written whole, one call for each print(); there
 * is no result to check, an error is kept for console_error().
 */
#include <stdarg.h>

#include "console.h"
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
