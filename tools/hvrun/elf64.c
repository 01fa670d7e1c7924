// SPDX-License-Identifier: GPL-2.0
/*
 * Plain static 64-bit ELF, the shortest way to a first guest: entered at
 * e_entry like a function that never returns, in long mode, with all RAM and at
 * least the first 4 GiB mapped where it is, a stack, SSE on, interrupts off,
 * and RDI = the physical address of the struct hvm_start_info that PVH has.
 */
#include "hvrun.h"

#define PAGE_BYTES	   4096ull
#define STACK_BYTES	   (64 * KIB)

#define PTE_PRESENT	   0x01
#define PTE_WRITABLE	   0x02
#define PTE_LARGE	   0x80
#define PTE_ACCESSED_DIRTY 0x60
#define PTE_TABLE	   (PTE_PRESENT | PTE_WRITABLE)
#define PTE_LEAF	   (PTE_TABLE | PTE_LARGE | PTE_ACCESSED_DIRTY)
#define ENTRIES		   512ull
#define PDPT_SPAN	   (ENTRIES * GIB)

static uint64_t *new_table(struct ram *ram, uint64_t *gpa)
{
	*gpa = ram_boot_alloc(ram, PAGE_BYTES, PAGE_BYTES);
	return ram_at(ram, *gpa, PAGE_BYTES);
}

static uint64_t put_page_tables(struct boot *boot)
{
	uint64_t end = ram_end(boot->ram);
	uint64_t cr3, gpa;
	uint64_t *pml4, *pdpt = NULL, *pd;

	if (end < RAM_HIGH_START)
		end = RAM_HIGH_START;
	pml4 = new_table(boot->ram, &cr3);
	for (uint64_t at = 0; at < end; at += GIB) {
		if (at % PDPT_SPAN == 0) {
			pdpt = new_table(boot->ram, &gpa);
			pml4[at / PDPT_SPAN] = gpa | PTE_TABLE;
		}
		if (boot->gigabyte_pages) {
			pdpt[at % PDPT_SPAN / GIB] = at | PTE_LEAF;
			continue;
		}
		pd = new_table(boot->ram, &gpa);
		pdpt[at % PDPT_SPAN / GIB] = gpa | PTE_TABLE;
		for (uint64_t i = 0; i < ENTRIES; i++)
			pd[i] = (at + i * 2 * MIB) | PTE_LEAF;
	}
	return cr3;
}

static uint64_t put_gdt(struct ram *ram)
{
	uint64_t gpa = ram_boot_alloc(ram, 3 * sizeof(uint64_t), 8);
	uint64_t *gdt = ram_at(ram, gpa, 3 * sizeof(uint64_t));

	gdt[1] = 0x00af9b000000ffff; /* 64-bit code, selector 0x08 */
	gdt[2] = 0x00cf93000000ffff; /* data, selector 0x10 */
	return gpa;
}

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

	boot->long_mode = true;
	boot->rip = elf.entry;
	boot->gdt = put_gdt(boot->ram);
	boot->cr3 = put_page_tables(boot);
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
