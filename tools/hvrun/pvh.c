// SPDX-License-Identifier: GPL-2.0
/*
 * PVH, Xen's x86/HVM direct boot ABI: an ELF note holds the physical address
 * of a 32-bit entry point, which gets a struct hvm_start_info in EBX.
 */
#include <elf.h>
#include <string.h>

#include "hvrun.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define START_INFO_MAGIC	 0x336ec578u
#define MAX_NOTES		 256 /* in one segment; more are not looked at */

struct hvm_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct hvm_memmap_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

_Static_assert(sizeof(struct hvm_start_info) == 56, "struct hvm_start_info");
_Static_assert(sizeof(struct hvm_memmap_entry) == 24, "hvm_memmap_entry");

uint64_t pvh_start_info(struct boot *boot)
{
	struct ram *ram = boot->ram;
	struct ram_range map[RAM_MAX_RANGES];
	struct hvm_memmap_entry *entries;
	struct hvm_start_info *info;
	uint64_t cmdline = boot_cmdline(boot, NULL);
	uint64_t memmap =
		ram_boot_alloc(ram, RAM_MAX_RANGES * sizeof(*entries), 8);
	uint64_t gpa = ram_boot_alloc(ram, sizeof(*info), 4096);
	unsigned int n = ram_map(ram, map);

	entries = ram_at(ram, memmap, n * sizeof(*entries));
	for (unsigned int i = 0; i < n; i++)
		entries[i] = (struct hvm_memmap_entry){
			.addr = map[i].start,
			.size = map[i].bytes,
			.type = map[i].type,
		};
	info = ram_at(ram, gpa, sizeof(*info));
	*info = (struct hvm_start_info){
		.magic = START_INFO_MAGIC,
		.version = 1,
		.cmdline_paddr = cmdline,
		.rsdp_paddr = boot->rsdp,
		.memmap_paddr = memmap,
		.memmap_entries = n,
	};
	return gpa;
}

static uint64_t align_up(uint64_t bytes, uint64_t align)
{
	return (bytes + align - 1) & ~(align - 1);
}

/* Look for the note in one PT_NOTE segment. */
static bool find_entry(const struct elf *elf, const struct elf_segment *seg,
		       uint64_t *entry)
{
	const uint64_t align = seg->align == 8 ? 8 : 4;
	uint64_t offset = seg->offset;
	uint64_t left = seg->file_bytes;

	for (int i = 0; i < MAX_NOTES && left >= sizeof(Elf64_Nhdr); i++) {
		uint64_t name_bytes, bytes;
		Elf64_Nhdr note; /* the same in 32-bit files */
		char name[4];

		image_read(elf->image, offset, &note, sizeof(note));
		name_bytes = align_up(sizeof(note) + note.n_namesz, align);
		bytes = name_bytes + align_up(note.n_descsz, align);
		if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY &&
		    note.n_namesz == sizeof(name) && note.n_descsz >= 4) {
			image_read(elf->image, offset + sizeof(note), name,
				   sizeof(name));
			if (!memcmp(name, "Xen", sizeof(name))) {
				*entry = 0;
				image_read(elf->image, offset + name_bytes,
					   entry, note.n_descsz >= 8 ? 8 : 4);
				return true;
			}
		}
		if (bytes > left)
			break;
		offset += bytes;
		left -= bytes;
	}
	return false;
}

bool pvh_load(const struct image *image, struct boot *boot)
{
	struct elf_segment seg;
	bool found = false;
	uint64_t entry;
	struct elf elf;

	if (!elf_open(image, &elf))
		return false;
	for (unsigned int i = 0; i < elf.phdrs && !found; i++) {
		elf_segment(&elf, i, &seg);
		found = seg.type == PT_NOTE && find_entry(&elf, &seg, &entry);
	}
	if (!found)
		return false;

	boot->rbx = pvh_start_info(boot);
	boot->rip = entry;
	elf_load(&elf, boot->ram);
	if (!elf_contains(&elf, entry) || entry > UINT32_MAX)
		die("kernel %s: the entry point of its PVH note, 0x%llx, is not in "
		    "what was loaded below 4 GiB",
		    image->path, (unsigned long long)entry);
	return true;
}
