// SPDX-License-Identifier: MIT
/*
 * Strings and memory.  memcpy and memset are one instruction each: written as
 * a loop, the compiler could turn them into calls of themselves.
 */
#include "string.h"

void *memcpy(void *to, const void *from, size_t bytes)
{
	void *next = to;

	__asm__ __volatile__("rep movsb"
			     : "+D"(next), "+S"(from), "+c"(bytes)
			     :
			     : "memory");
	return to;
}

void *memset(void *to, int byte, size_t bytes)
{
	void *next = to;

	__asm__ __volatile__("rep stosb"
			     : "+D"(next), "+c"(bytes)
			     : "a"(byte)
			     : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const unsigned char *x = a, *y = b;

	for (; bytes; bytes--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t length = 0;

	while (s[length])
		length++;
	return length;
}

char *strchr(const char *s, int c)
{
	for (; *s; s++)
		if (*s == (char)c)
			return (char *)s;
	return NULL;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (unsigned char)*a - (unsigned char)*b;
}

bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

char to_upper(char c)
{
	return is_lower(c) ? c - 'a' + 'A' : c;
}

bool equal_ignoring_case(const char *a, size_t bytes, const char *b)
{
	for (; bytes && *b; bytes--, a++, b++)
		if (to_upper(*a) != to_upper(*b))
			return false;
	return !bytes && !*b;
}

bool parse_number(const char **text, uint64_t max, uint64_t *number)
{
	const char *start = *text;
	uint64_t n = 0;

	for (; is_digit(**text); ++*text) {
		uint64_t digit = (uint64_t)(**text - '0');

		if (digit > max || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*number = n;
	return *text != start;
}
