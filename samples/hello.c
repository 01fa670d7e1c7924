// SPDX-License-Identifier: MIT
/*
 * hello: a whole operating system.
 *
 * The launcher enters _start in 64-bit mode with all RAM mapped at its own
 * address, a stack, and the start information as the first argument.
 */
#include "hcall_call.h"
#include "start_info.h"

#define CONSOLE 0

static void print(const char *text)
{
	const char *end = text;

	while (*end)
		end++;
	hcall_console_write_all(CONSOLE, (uintptr_t)text, end - text);
}

void _start(const struct hvm_start_info *start)
{
	const char *arguments = (const char *)start->cmdline_paddr;

	print("Hello from an OS without a device driver.\n");
	if (arguments && *arguments) {
		print("You said: ");
		print(arguments);
		print("\n");
	}
	hcall_exit(HCALL_EXIT_OFF, 0);

	for (;;) /* only where nobody answers calls */
		__asm__ __volatile__("hlt");
}
