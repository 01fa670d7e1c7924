// SPDX-License-Identifier: MIT
/*
 * hello32: hello as a 32-bit Multiboot 1 kernel.
 *
 * A Multiboot loader enters _start in 32-bit protected mode without paging and
 * without a stack, EAX = MULTIBOOT_LOADED, EBX = the start information.
 */
#include "hcall_call.h"

#define CONSOLE		      0

#define MULTIBOOT_MAGIC	      0x1badb002u
#define MULTIBOOT_FLAGS	      0x2u /* we want to know the memory */
#define MULTIBOOT_LOADED      0x2badb002u
#define MULTIBOOT_HAS_CMDLINE 0x4u

struct multiboot_info {
	uint32_t flags; /* which of the fields are valid */
	uint32_t mem_lower;
	uint32_t mem_upper;
	uint32_t boot_device;
	uint32_t cmdline; /* NUL-terminated */
};

/* The loader looks for this in the first 8 KiB of the file. */
__attribute__((section(".multiboot"), used)) static const uint32_t header[] = {
	MULTIBOOT_MAGIC,
	MULTIBOOT_FLAGS,
	-(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS),
};

__asm__("	.bss\n"
	"	.balign	16\n"
	"	.skip	16384\n"
	"stack_top:\n"
	"	.text\n"
	"	.globl	_start\n"
	"_start:\n"
	"	movl	$stack_top - 8, %esp\n" /* aligned at the call */
	"	pushl	%ebx\n"
	"	pushl	%eax\n"
	"	call	start\n");

static void print(const char *text)
{
	const char *end = text;

	while (*end)
		end++;
	hcall_console_write_all(CONSOLE, (uintptr_t)text, end - text);
}

__attribute__((used, noreturn)) static void
start(uint32_t magic, const struct multiboot_info *info)
{
	print("Hello from a 32-bit OS without a device driver.\n");
	if (magic == MULTIBOOT_LOADED && info->flags & MULTIBOOT_HAS_CMDLINE) {
		print("Command line: "); /* our own path, then the arguments */
		print((const char *)info->cmdline);
		print("\n");
	}
	hcall_exit(HCALL_EXIT_OFF, 0);

	for (;;) /* only where nobody answers calls */
		__asm__ __volatile__("hlt");
}
