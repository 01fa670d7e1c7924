/* SPDX-License-Identifier: MIT */
/*
 * What the launcher hands to a 64-bit kernel: RDI holds the address of a struct
 * hvm_start_info, as in the PVH boot protocol of Xen.
 */
#ifndef START_INFO_H
#define START_INFO_H

#include <stdint.h>

#define HVM_START_MAGIC 0x336ec578u

struct hvm_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr; /* NUL-terminated; 0: none */
	uint64_t rsdp_paddr; /* ACPI; 0: none */
	uint64_t
		memmap_paddr; /* struct hvm_memmap_table_entry[memmap_entries] */
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct hvm_memmap_table_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* 1: RAM; else as in the E820 map of a BIOS */
	uint32_t reserved;
};

#endif /* START_INFO_H */
