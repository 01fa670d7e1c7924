// SPDX-License-Identifier: GPL-2.0
/*
 * What --disk, --net and --input have in common: NAME=WHAT, with options after
 * commas at the end of WHAT.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "hvrun.h"

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
