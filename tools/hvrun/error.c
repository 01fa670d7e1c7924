// SPDX-License-Identifier: GPL-2.0
/*
 * Messages to the user: each is one write, so that those of several threads
 * do not mix.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hvrun.h"

bool verbose;

static void vsay(const char *format, va_list args)
{
	char line[1024];
	int start = snprintf(line, sizeof(line), "hvrun: ");
	int bytes =
		vsnprintf(line + start, sizeof(line) - start - 1, format, args);

	if (bytes < 0)
		return;
	bytes += start;
	if (bytes > (int)sizeof(line) - 2)
		bytes = sizeof(line) - 2;
	line[bytes++] = '\n';
	if (write(STDERR_FILENO, line, bytes) < 0)
		return; /* nobody to tell */
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
}

void note(const char *format, ...)
{
	va_list args;

	if (!verbose)
		return;
	va_start(args, format);
	vsay(format, args);
	va_end(args);
}

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
	exit(HVRUN_FAILED);
}
