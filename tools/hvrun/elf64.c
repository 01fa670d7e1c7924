// SPDX-License-Identifier: GPL-2.0
/*
 * Plain static 64-bit ELF, the shortest way to a first guest: entered at
 * e_entry like a function that never returns, in long mode, with all RAM and at
 * least the first 4 GiB mapped where it is, a stack, SSE on, interrupts off,
 * and RDI = the physical address of the struct hvm_start_info that PVH has.
 */
#include "hvrun.h"

#define STACK_BYTES (64 * KIB)

bool elf64_load(const struct image *image, struct boot *boot)
{
	struct elf elf;
	uint64_t stack;

	if (!elf_open(image, &elf))
		return false;
	if (!elf.is_64)
		die("kernel %s: is a 32-bit ELF without a Multiboot 1 header or "
		    "PVH note: it needs one of them",
		    image->path);

	boot->rip = elf.entry;
	boot_long_mode(boot, 0x08);
	/* As after a call: a function expects 8 bytes less than a multiple of 16. */
	stack = ram_boot_alloc(boot->ram, STACK_BYTES, 16);
	boot->rsp = stack + STACK_BYTES - 8;
	boot->rdi = pvh_start_info(boot);
	elf_load(&elf, boot->ram);
	if (!elf_contains(&elf, elf.entry))
		die("kernel %s: its entry point 0x%llx is not the physical address of "
		    "anything loaded: link it where it is loaded, or give it a PVH note",
		    image->path, (unsigned long long)elf.entry);
	return true;
}
