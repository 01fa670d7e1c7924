/* SPDX-License-Identifier: MIT */
/* Output on the console, plain and formatted. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stddef.h>

void console_write(const void *data, size_t bytes);

/* printf with %s %u %x %%, '-', '0', a width, and 'l' for 64 bits. */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

/* The first error of a write since the last time we were asked, or 0. */
int console_error(void);

#endif /* CONSOLE_H */
