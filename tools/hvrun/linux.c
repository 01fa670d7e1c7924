// SPDX-License-Identifier: GPL-2.0
/*
 * Linux's bzImage, by the 64-bit boot protocol of its
 * Documentation/arch/x86/boot.rst: a setup part of real-mode code, of which
 * only the header counts, and the compressed kernel, entered in long mode at
 * 0x200 with RSI = the physical address of a struct boot_params.
 */
#include <asm/bootparam.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "hvrun.h"

#define HEADER_OFFSET  offsetof(struct boot_params, hdr)
#define HEADER_MAX_END offsetof(struct boot_params, edd_mbr_sig_buffer)
/* What has to be in the header: all that is read here. */
#define HEADER_MIN_END \
	(HEADER_OFFSET + offsetof(struct setup_header, handover_offset))
#define BOOT_FLAG      0xaa55
#define MAGIC	       0x53726448 /* "HdrS" */
#define MAGIC_END      (HEADER_OFFSET + offsetof(struct setup_header, version))
#define MIN_VERSION    0x20c /* the first with xloadflags */
#define LOADER_UNKNOWN 0xff
#define VIDEO_NORMAL   0xffff
#define SECTOR_BYTES   512u
#define ENTRY_OFFSET   0x200
#define LINUX_CS       0x10
#define PAGE_BYTES     4096ull

_Static_assert(sizeof(struct boot_params) == PAGE_BYTES, "struct boot_params");
_Static_assert(HEADER_OFFSET == 0x1f1, "struct boot_params");

static uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

/* The header, or at least as much of it as tells what is wrong. */
static bool find_header(const struct image *image, struct setup_header *h,
			unsigned int *end)
{
	const uint8_t *head = image->head;

	if (image->head_bytes < MAGIC_END)
		return false;
	image_read(image, HEADER_OFFSET, h,
		   offsetof(struct setup_header, version));
	if (h->boot_flag != BOOT_FLAG || h->header != MAGIC)
		return false;
	image_read(image, HEADER_OFFSET, h, sizeof(*h));
	/* The jump over the header says where it ends. */
	*end = HEADER_OFFSET + offsetof(struct setup_header, header) +
	       head[0x201];
	if (*end > HEADER_MAX_END)
		*end = HEADER_MAX_END;
	return true;
}

static void check_header(const struct image *image,
			 const struct setup_header *h, unsigned int end)
{
	if (h->version < MIN_VERSION)
		die("kernel %s: is Linux with boot protocol %u.%02u, and hvrun needs 2.12: "
		    "give Linux 3.8 or newer",
		    image->path, h->version >> 8, h->version & 0xff);
	if (end < HEADER_MIN_END)
		die("kernel %s: its Linux header ends at 0x%x, and one of this version "
		    "at 0x%zx or above",
		    image->path, end, HEADER_MIN_END);
	if (!(h->xloadflags & XLF_KERNEL_64))
		die("kernel %s: is 32-bit Linux: hvrun boots 64-bit kernels only",
		    image->path);
	if (!h->kernel_alignment ||
	    h->kernel_alignment & (h->kernel_alignment - 1))
		die("kernel %s: its alignment 0x%x is no power of two",
		    image->path, h->kernel_alignment);
}

static bool is_free(const struct ram *ram, uint64_t gpa, uint64_t bytes)
{
	return gpa >= RAM_1M && gpa <= ram->low_bytes &&
	       bytes <= ram->low_bytes - gpa;
}

/* Where it wants to be, or else as low as it can be. */
static uint64_t place_kernel(const struct image *image, const struct ram *ram,
			     const struct setup_header *h)
{
	uint64_t lowest = align_down(RAM_1M + h->kernel_alignment - 1,
				     h->kernel_alignment);
	uint64_t at = h->pref_address;

	if (is_free(ram, at, h->init_size))
		return at;
	if (!h->relocatable_kernel)
		lowest = at;
	if (is_free(ram, lowest, h->init_size))
		return lowest;
	die("kernel %s: to start it needs 0x%x bytes at 0x%llx, which are not in the "
	    "guest's %llu MiB: give more with --mem",
	    image->path, h->init_size, (unsigned long long)lowest,
	    (unsigned long long)(ram->bytes / MIB));
}

/* As high as it can be, where it is in nobody's way. */
static uint64_t place_initrd(const struct image *initrd, const struct ram *ram,
			     const struct setup_header *h, uint64_t kernel_end)
{
	const bool anywhere = h->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G;
	uint64_t limit = ram->low_bytes;

	if (anywhere && initrd->bytes <= ram->bytes - ram->low_bytes)
		return align_down(ram_end(ram) - initrd->bytes, PAGE_BYTES);
	if (!anywhere && limit > h->initrd_addr_max)
		limit = (uint64_t)h->initrd_addr_max + 1;
	if (initrd->bytes <= limit &&
	    align_down(limit - initrd->bytes, PAGE_BYTES) >= kernel_end)
		return align_down(limit - initrd->bytes, PAGE_BYTES);
	die("initrd %s: its %llu bytes do not fit in the guest's %llu MiB beside the "
	    "kernel: give more with --mem",
	    initrd->path, (unsigned long long)initrd->bytes,
	    (unsigned long long)(ram->bytes / MIB));
}

static void load_initrd(struct boot *boot, struct boot_params *params,
			uint64_t kernel_end)
{
	struct image initrd;
	uint64_t gpa;

	image_open(&initrd, "initrd", boot->initrd);
	if (!initrd.bytes)
		die("initrd %s: is empty", initrd.path);
	gpa = place_initrd(&initrd, boot->ram, &params->hdr, kernel_end);
	image_read(&initrd, 0, ram_at(boot->ram, gpa, initrd.bytes),
		   initrd.bytes);
	close(initrd.fd);
	note("initrd %s: at 0x%llx", initrd.path, (unsigned long long)gpa);
	params->hdr.ramdisk_image = gpa;
	params->ext_ramdisk_image = gpa >> 32;
	params->hdr.ramdisk_size = initrd.bytes;
	params->ext_ramdisk_size = initrd.bytes >> 32;
	boot->initrd_loaded = true;
}

static uint32_t put_cmdline(const struct image *image, struct boot *boot,
			    const struct setup_header *h)
{
	uint64_t gpa = boot_cmdline(boot, NULL);
	size_t bytes = strlen(ram_at(boot->ram, gpa, 1));

	if (bytes > h->cmdline_size)
		die("kernel %s: its arguments have %zu bytes, and this Linux takes %u",
		    image->path, bytes, h->cmdline_size);
	return gpa;
}

static void put_memory_map(const struct ram *ram, struct boot_params *params)
{
	struct ram_range map[RAM_MAX_RANGES];
	unsigned int n = ram_map(ram, map);

	for (unsigned int i = 0; i < n; i++)
		params->e820_table[i] = (struct boot_e820_entry){
			.addr = map[i].start,
			.size = map[i].bytes,
			.type = map[i].type,
		};
	params->e820_entries = n;
}

bool linux_load(const struct image *image, struct boot *boot)
{
	struct ram *ram = boot->ram;
	uint64_t kernel, kernel_bytes, setup_bytes;
	struct boot_params *params;
	struct setup_header h;
	unsigned int end;

	if (!find_header(image, &h, &end))
		return false;
	check_header(image, &h, end);
	setup_bytes = (1 + (h.setup_sects ? h.setup_sects : 4)) * SECTOR_BYTES;
	kernel_bytes = h.syssize * 16ull;
	if (kernel_bytes <= ENTRY_OFFSET)
		die("kernel %s: has no code: its header says %llu bytes",
		    image->path, (unsigned long long)kernel_bytes);

	boot_long_mode(boot, LINUX_CS);
	boot->rsi = ram_boot_alloc(ram, sizeof(*params), PAGE_BYTES);
	params = ram_at(ram, boot->rsi, sizeof(*params));
	image_read(image, HEADER_OFFSET, &params->hdr, end - HEADER_OFFSET);
	params->hdr.vid_mode = VIDEO_NORMAL;
	params->hdr.type_of_loader = LOADER_UNKNOWN;
	params->hdr.loadflags &= ~(CAN_USE_HEAP | KEEP_SEGMENTS);
	params->hdr.setup_data = 0;
	params->hdr.ramdisk_image = 0;
	params->hdr.ramdisk_size = 0;
	params->hdr.cmd_line_ptr = put_cmdline(image, boot, &h);
	params->acpi_rsdp_addr = boot->rsdp;
	put_memory_map(ram, params);

	kernel = place_kernel(image, ram, &h);
	image_load(image, ram, "the kernel", setup_bytes, kernel_bytes, kernel,
		   h.init_size);
	boot->rip = kernel + ENTRY_OFFSET;
	if (boot->initrd)
		load_initrd(boot, params, kernel + h.init_size);
	return true;
}
