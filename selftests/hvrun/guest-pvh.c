// SPDX-License-Identifier: GPL-2.0
/*
 * The least PVH kernel: a 32-bit ELF with Xen's note.  It looks at what it was
 * given, prints its command line and ends, with the number of mistakes.
 */
#include "hcall_call.h"
#include "start_info.h"

#define CONSOLE 0

__asm__("	.section .note.Xen, \"a\", @note\n"
	"	.long	4, 4, 18\n" /* XEN_ELFNOTE_PHYS32_ENTRY */
	"	.asciz	\"Xen\"\n"
	"	.long	_start\n"
	"	.bss\n"
	"	.balign	16\n"
	"	.skip	16384\n"
	"stack_top:\n"
	"	.text\n"
	"	.globl	_start\n"
	"_start:\n"
	"	movl	$stack_top - 12, %esp\n"
	"	pushl	%ebx\n"
	"	call	start\n");

static void print(const char *text)
{
	const char *end = text;

	while (*end)
		end++;
	hcall_console_write_all(CONSOLE, (uintptr_t)text, end - text);
}

__attribute__((used, noreturn)) static void
start(const struct hvm_start_info *info)
{
	const struct hvm_memmap_table_entry *map =
		(const void *)(uintptr_t)info->memmap_paddr;
	uint64_t ram_bytes = 0;
	uint32_t mistakes = 0;

	for (uint32_t i = 0; i < info->memmap_entries; i++)
		if (map[i].type == 1)
			ram_bytes += map[i].size;
	mistakes += info->magic != HVM_START_MAGIC;
	mistakes += info->version != 1;
	mistakes += info->nr_modules != 0;
	mistakes += !info->rsdp_paddr;
	mistakes += ram_bytes < 1 << 20;
	print("PVH got: ");
	print((const char *)(uintptr_t)info->cmdline_paddr);
	print("\n");
	hcall_exit(HCALL_EXIT_OFF, mistakes);

	for (;;)
		__asm__ __volatile__("hlt");
}
