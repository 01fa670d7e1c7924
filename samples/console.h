/* SPDX-License-Identifier: MIT */
/* The console: formatted output, and lines typed with echo and corrections. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stddef.h>

void console_write(const void *data, size_t bytes);

/* printf with %s %u %x %%, '-', '0', a width, and 'l' for 64 bits. */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

/* The first error of a write since the last time we were asked, or 0. */
int console_error(void);

/*
 * Reads a line, without its end and with a NUL, into the @size bytes at @line.
 *
 * Return: 0; -ERR_TOO_LONG: the rest of the line is lost; -ERR_CANCELLED after
 * Ctrl-C; -ERR_INPUT_ENDED after Ctrl-D on an empty line, or if there is no
 * more input; an error of the console.
 */
int console_read_line(char *line, size_t size);

#endif /* CONSOLE_H */
