/* SPDX-License-Identifier: MIT */
/* Input from the console: lines typed with echo and corrections, and Ctrl-C. */
#ifndef LINE_H
#define LINE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads a line, without its end and with a NUL, into the @size bytes at @line.
 *
 * Return: 0; -ERR_TOO_LONG: the rest of the line is lost; -ERR_CANCELLED after
 * Ctrl-C; -ERR_INPUT_ENDED after Ctrl-D on an empty line, or if there is no
 * more input; an error of the console.
 */
int line_read(char *line, size_t size);

/*
 * For whoever waits for something else: has Ctrl-C been typed?  It is taken,
 * with all that was typed before.
 */
bool line_cancelled(void);

#endif /* LINE_H */
