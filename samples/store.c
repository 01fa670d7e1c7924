// SPDX-License-Identifier: MIT
/*
 * store: an OS that makes calls which the host has only while a BPF program
 * serves them: bpf/examples/add.bpf.c.
 *
 * Its arguments are put and get, with numbers: "put 7 42 get 7".
 */
#include "console.h"
#include "hcall_call.h"
#include "start_info.h"
#include "store.h"
#include "string.h"

#define WORD_BYTES 24

/* Cuts the next word off *@text; false: there is none. */
static bool next_word(const char **text, char word[WORD_BYTES])
{
	unsigned int length = 0;

	while (**text == ' ')
		++*text;
	for (; **text && **text != ' '; ++*text)
		if (length < WORD_BYTES - 1)
			word[length++] = **text;
	word[length] = '\0';
	return length;
}

static bool next_number(const char **text, uint64_t *number)
{
	char word[WORD_BYTES];
	const char *end = word;

	return next_word(text, word) &&
	       parse_number(&end, UINT64_MAX, number) && !*end;
}

static int64_t run(const char *text)
{
	char word[WORD_BYTES];
	uint64_t key, value;
	int64_t result = 0;

	while (result >= 0 && next_word(&text, word)) {
		if (!strcmp(word, "put") && next_number(&text, &key) &&
		    next_number(&text, &value)) {
			result = hcall(STORE_PUT, key, value, 0, 0);
			print("put %lu %lu: ", key, value);
		} else if (!strcmp(word, "get") && next_number(&text, &key)) {
			result = hcall(STORE_GET, key, 0, 0, 0);
			print("get %lu: ", key);
		} else {
			print("usage: put KEY NUMBER, get KEY\n");
			return -HCALL_EINVAL;
		}
		if (result < 0)
			print("error %lu\n", (uint64_t)-result);
		else
			print("%lu\n", (uint64_t)result);
	}
	return result;
}

void _start(const struct hvm_start_info *start)
{
	int64_t functions = hcall_probe(STORE_CLASS);
	int64_t wanted = 1 << HCALL_NR_FUNCTION(STORE_PUT) |
			 1 << HCALL_NR_FUNCTION(STORE_GET);
	int64_t result = -HCALL_ENOSYS;

	/* An OS asks before it relies on a call. */
	if (functions < 0 || (functions & wanted) != wanted)
		print("This host has no store.\n");
	else
		result = run((const char *)start->cmdline_paddr);
	hcall_exit(HCALL_EXIT_OFF, result < 0);

	for (;;) /* only where nobody answers calls */
		__asm__ __volatile__("hlt");
}
