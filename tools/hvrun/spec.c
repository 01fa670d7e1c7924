// SPDX-License-Identifier: GPL-2.0
/*
 * What options say: numbers, sizes, and what --disk, --net and --input have in
 * common, NAME=WHAT with options after commas at the end of WHAT.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "hvrun.h"

/* A size that no host has: refused later, with what it can have. */
#define TOO_MUCH (1ull << 52)

/* Digits only: no sign, no blank.  Return: what follows them, or NULL. */
static const char *parse_digits(const char *text, uint64_t *number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return NULL;
	*number = strtoull(text, &end, 10); /* UINT64_MAX if it is too big */
	return end;
}

bool spec_number(const char *text, uint64_t *number)
{
	const char *end = parse_digits(text, number);

	return end && !*end;
}

const char *spec_size(const char *text, uint64_t *bytes)
{
	static const char *const no_size = "is no size; say for example 256M";
	const char *end = parse_digits(text, bytes);
	uint64_t unit = 1;

	if (!end)
		return no_size;
	if (*end == 'K' || *end == 'k')
		unit = KIB;
	else if (*end == 'M' || *end == 'm')
		unit = MIB;
	else if (*end == 'G' || *end == 'g')
		unit = GIB;
	if (end[unit != 1])
		return no_size;
	if (__builtin_mul_overflow(*bytes, unit, bytes) || *bytes > TOO_MUCH)
		*bytes = TOO_MUCH;
	if (*bytes < RAM_MIN_BYTES)
		return unit == 1
			       ? "is too little; at least 2M is needed (and M means MiB)"
			       : "is too little; at least 2M is needed";
	if (*bytes % (4 * KIB))
		return "is no multiple of 4K";
	return NULL;
}

const char *spec_name(const char *spec, const char *form, char *name,
		      char **what)
{
	const char *equals = strchr(spec, '=');

	if (!equals || equals == spec || !equals[1])
		return form;
	if (equals - spec >= HCALL_NAME_BYTES)
		return "a name has at most 39 characters";
	for (const char *p = spec; p < equals; p++)
		if (!isgraph((unsigned char)*p))
			return "a name is of printable ASCII characters without blanks";
	memcpy(name, spec, equals - spec);
	*what = strdup(equals + 1);
	if (!*what)
		die("out of memory");
	return NULL;
}

bool spec_take_flag(char *what, const char *flag)
{
	size_t what_bytes = strlen(what), bytes = strlen(flag);

	if (what_bytes < bytes || strcmp(what + what_bytes - bytes, flag))
		return false;
	what[what_bytes - bytes] = '\0';
	return true;
}

char *spec_take_value(char *what, const char *key)
{
	char *comma = strrchr(what, ',');

	if (!comma || strncmp(comma, key, strlen(key)))
		return NULL;
	*comma = '\0';
	return comma + strlen(key);
}
