// SPDX-License-Identifier: GPL-2.0
/*
 * Long mode for kernels that are entered in it: page tables that map all RAM
 * and at least the first 4 GiB where they are, and a flat GDT.
 */
#include "hvrun.h"

#define PAGE_BYTES	   4096ull

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

void boot_long_mode(struct boot *boot, uint16_t code_selector)
{
	const unsigned int index = code_selector / sizeof(uint64_t);
	uint64_t *gdt;

	boot->long_mode = true;
	boot->code_selector = code_selector;
	boot->gdt_bytes = (index + 2) * sizeof(uint64_t);
	boot->gdt = ram_boot_alloc(boot->ram, boot->gdt_bytes, 8);
	gdt = ram_at(boot->ram, boot->gdt, boot->gdt_bytes);
	gdt[index] = 0x00af9b000000ffff; /* 64-bit code */
	gdt[index + 1] = 0x00cf93000000ffff; /* data */
	boot->cr3 = put_page_tables(boot);
}
