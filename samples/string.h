/* SPDX-License-Identifier: MIT */
/*
 * The little of a C library that the shell uses.  The compiler may call
 * memcpy, memset and memcmp on its own.
 */
#ifndef SAMPLE_STRING_H
#define SAMPLE_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *s);
char *strchr(const char *s, int c);
int strcmp(const char *a, const char *b);

char to_upper(char c);
bool is_digit(char c);
bool is_lower(char c);

/* Are the @bytes bytes at @a the string @b, but for the case of a to z? */
bool equal_ignoring_case(const char *a, size_t bytes, const char *b);

/* The digits at *@text, which is moved past them; false: none, or over @max. */
bool parse_number(const char **text, uint64_t max, uint64_t *number);

#endif /* SAMPLE_STRING_H */
