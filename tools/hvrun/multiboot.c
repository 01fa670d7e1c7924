// SPDX-License-Identifier: GPL-2.0
/*
 * Multiboot 1 (Multiboot Specification version 0.6.96): the header is in the
 * first 8 KiB of the file; the kernel starts in flat 32-bit mode.
 */
#include <elf.h>
#include <string.h>

#include "hvrun.h"

#define HEADER_MAGIC  0x1badb002u
#define LOADER_MAGIC  0x2badb002u

/* Bits 0 to 15 of the header's flags have to be understood. */
#define WANT_ALIGNED  (1u << 0) /* modules on page boundaries: there are none */
#define WANT_MEMORY   (1u << 1) /* always given */
#define WANT_VIDEO    (1u << 2)
#define WANT_UNKNOWN  0xfff8u
#define HAS_ADDRESSES (1u << 16)

#define INFO_MEMORY   (1u << 0)
#define INFO_CMDLINE  (1u << 2)
#define INFO_MODULES  (1u << 3)
#define INFO_MMAP     (1u << 6)
#define INFO_LOADER   (1u << 9)

struct header {
	uint32_t magic;
	uint32_t flags;
	uint32_t checksum;
	/* with HAS_ADDRESSES: */
	uint32_t header_addr;
	uint32_t load_addr;
	uint32_t load_end_addr;
	uint32_t bss_end_addr;
	uint32_t entry_addr;
};

struct info {
	uint32_t flags;
	uint32_t mem_lower_kib;
	uint32_t mem_upper_kib;
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count;
	uint32_t mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length;
	uint32_t mmap_addr;
	uint32_t drives_length;
	uint32_t drives_addr;
	uint32_t config_table;
	uint32_t boot_loader_name;
	uint32_t apm_table;
	uint32_t vbe[4];
};

_Static_assert(sizeof(struct info) == 88, "struct info");

struct mmap_entry {
	uint32_t size; /* of the rest */
	uint64_t addr;
	uint64_t len;
	uint32_t type;
} __attribute__((packed));

static bool find_header(const struct image *image, struct header *h,
			uint32_t *offset)
{
	const uint32_t basic_bytes = offsetof(struct header, header_addr);

	memset(h, 0, sizeof(*h));
	for (uint32_t at = 0; at + basic_bytes <= image->head_bytes; at += 4) {
		memcpy(h, image->head + at, basic_bytes);
		if (h->magic != HEADER_MAGIC ||
		    h->magic + h->flags + h->checksum)
			continue;
		if (h->flags & HAS_ADDRESSES)
			image_read(image, at, h, sizeof(*h));
		*offset = at;
		return true;
	}
	return false;
}

/* The header says where the file goes; return the entry point. */
static uint64_t load_by_addresses(const struct image *image, struct ram *ram,
				  const struct header *h, uint32_t header_at)
{
	uint64_t before = (uint64_t)h->header_addr - h->load_addr;
	uint64_t offset, file_bytes, memory_bytes;

	if (h->header_addr < h->load_addr || before > header_at)
		die("kernel %s: its Multiboot header says it is at 0x%x in an image "
		    "from 0x%x, but is at 0x%x of the file",
		    image->path, h->header_addr, h->load_addr, header_at);
	offset = header_at - before;
	file_bytes = image->bytes - offset;
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr)
			die("kernel %s: its Multiboot header ends the image (0x%x) "
			    "before it starts (0x%x)",
			    image->path, h->load_end_addr, h->load_addr);
		file_bytes = h->load_end_addr - h->load_addr;
	}
	memory_bytes = file_bytes;
	if (h->bss_end_addr) {
		if (h->bss_end_addr < h->load_addr + file_bytes)
			die("kernel %s: its Multiboot header ends the bss (0x%x) "
			    "before the image (0x%llx)",
			    image->path, h->bss_end_addr,
			    (unsigned long long)(h->load_addr + file_bytes));
		memory_bytes = h->bss_end_addr - h->load_addr;
	}
	image_load(image, ram, "image", offset, file_bytes, h->load_addr,
		   memory_bytes);
	if (h->entry_addr < h->load_addr ||
	    h->entry_addr - h->load_addr >= memory_bytes)
		die("kernel %s: its entry point 0x%x is not in what was loaded",
		    image->path, h->entry_addr);
	return h->entry_addr;
}

/* A kernel linked high may give its entry point as a virtual address. */
static uint64_t load_elf(const struct image *image, struct ram *ram)
{
	struct elf_segment seg;
	uint64_t gpa;
	struct elf elf;

	if (!elf_open(image, &elf))
		die("kernel %s: has a Multiboot header without load addresses, "
		    "and is no ELF either",
		    image->path);
	elf_load(&elf, ram);
	for (unsigned int i = 0; i < elf.phdrs; i++) {
		elf_segment(&elf, i, &seg);
		if (seg.type != PT_LOAD || elf.entry < seg.vaddr ||
		    elf.entry - seg.vaddr >= seg.memory_bytes)
			continue;
		gpa = elf.entry - seg.vaddr + seg.paddr;
		if (gpa <= UINT32_MAX)
			return gpa;
	}
	if (!elf_contains(&elf, elf.entry) || elf.entry > UINT32_MAX)
		die("kernel %s: its entry point 0x%llx is not in what was loaded below 4 GiB",
		    image->path, (unsigned long long)elf.entry);
	return elf.entry;
}

static uint32_t put_mmap(struct ram *ram, uint32_t gpa)
{
	struct ram_range map[RAM_MAX_RANGES];
	struct mmap_entry *to = ram_at(ram, gpa, RAM_MAX_RANGES * sizeof(*to));
	unsigned int n = ram_map(ram, map);

	for (unsigned int i = 0; i < n; i++)
		to[i] = (struct mmap_entry){
			.size = sizeof(*to) - sizeof(to->size),
			.addr = map[i].start,
			.len = map[i].bytes,
			.type = map[i].type,
		};
	return n * sizeof(*to);
}

static uint64_t put_info(struct boot *boot, const char *path)
{
	static const char loader[] = "hvrun " HVRUN_VERSION;
	struct ram *ram = boot->ram;
	struct info info = {
		.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MMAP |
			 INFO_LOADER,
		.mem_upper_kib = (ram->low_bytes - RAM_1M) / KIB,
	};
	uint64_t gpa;

	info.cmdline = boot_cmdline(boot, path);
	info.boot_loader_name = ram_boot_alloc(ram, sizeof(loader), 8);
	memcpy(ram_at(ram, info.boot_loader_name, sizeof(loader)), loader,
	       sizeof(loader));
	info.mmap_addr = ram_boot_alloc(
		ram, RAM_MAX_RANGES * sizeof(struct mmap_entry), 8);
	gpa = ram_boot_alloc(ram, sizeof(info), 4096);
	info.mem_lower_kib = ram->boot_start / KIB;
	info.mmap_length = put_mmap(ram, info.mmap_addr);
	memcpy(ram_at(ram, gpa, sizeof(info)), &info, sizeof(info));
	return gpa;
}

bool multiboot_load(const struct image *image, struct boot *boot)
{
	struct header h;
	uint32_t at;

	if (!find_header(image, &h, &at))
		return false;
	if (h.flags & WANT_VIDEO)
		die("kernel %s: its Multiboot header asks for a video mode (flag 2), "
		    "and there is no screen",
		    image->path);
	if (h.flags & WANT_UNKNOWN)
		die("kernel %s: its Multiboot header asks for what hvrun does not know "
		    "(flags 0x%x of 0x%x)",
		    image->path, h.flags & WANT_UNKNOWN, h.flags);

	boot->rax = LOADER_MAGIC;
	boot->rbx = put_info(boot, image->path);
	if (h.flags & HAS_ADDRESSES)
		boot->rip = load_by_addresses(image, boot->ram, &h, at);
	else
		boot->rip = load_elf(image, boot->ram);
	return true;
}
