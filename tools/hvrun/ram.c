// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: a single private mapping, the first 3 GiB of it at gpa 0, the
 * rest from 4 GiB up.  What hvrun leaves there for the kernel (command line,
 * memory map, page tables, stack) is taken from the top of the first 640 KiB
 * and is reserved in the map that the guest gets.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "hvrun.h"

#define BOOT_LOWEST 0x10000ull /* below it a guest may start its other CPUs */

void ram_create(struct ram *ram, uint64_t bytes)
{
	void *host = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (host == MAP_FAILED)
		die("no room for %llu MiB of guest memory: %s; try a smaller --mem",
		    (unsigned long long)(bytes / MIB), strerror(errno));
	/*
	 * A small guest lives in the first 2 MiB: clearing a huge page for it
	 * would be a good part of all it takes to start.
	 */
	madvise(host, RAM_MIN_BYTES, MADV_NOHUGEPAGE);
	ram->host = host;
	ram->bytes = bytes;
	ram->low_bytes = bytes < RAM_HOLE_START ? bytes : RAM_HOLE_START;
	ram->boot_start = RAM_LOW_END;
}

void ram_destroy(struct ram *ram)
{
	munmap(ram->host, ram->bytes);
}

uint64_t ram_end(const struct ram *ram)
{
	if (ram->bytes == ram->low_bytes)
		return ram->low_bytes;
	return RAM_HIGH_START + (ram->bytes - ram->low_bytes);
}

void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t bytes)
{
	uint64_t high_bytes = ram->bytes - ram->low_bytes;

	if (gpa <= ram->low_bytes && bytes <= ram->low_bytes - gpa)
		return ram->host + gpa;
	if (gpa < RAM_HIGH_START)
		return NULL;
	gpa -= RAM_HIGH_START;
	if (gpa <= high_bytes && bytes <= high_bytes - gpa)
		return ram->host + ram->low_bytes + gpa;
	return NULL;
}

uint64_t ram_boot_alloc(struct ram *ram, uint64_t bytes, uint64_t align)
{
	if (bytes + align > ram->boot_start - BOOT_LOWEST)
		die("what the kernel needs to start does not fit in 640 KiB: "
		    "shorten its arguments or give it less --mem");
	ram->boot_start = (ram->boot_start - bytes) & ~(align - 1);
	return ram->boot_start;
}

unsigned int ram_map(const struct ram *ram, struct ram_range *map)
{
	unsigned int n = 0;

	map[n++] = (struct ram_range){ 0, ram->boot_start, RAM_USABLE };
	map[n++] = (struct ram_range){ ram->boot_start,
				       RAM_LOW_END - ram->boot_start,
				       RAM_RESERVED };
	map[n++] = (struct ram_range){ RAM_LOW_END, RAM_1M - RAM_LOW_END,
				       RAM_RESERVED };
	map[n++] = (struct ram_range){ RAM_1M, ram->low_bytes - RAM_1M,
				       RAM_USABLE };
	if (ram->bytes > ram->low_bytes)
		map[n++] = (struct ram_range){ RAM_HIGH_START,
					       ram->bytes - ram->low_bytes,
					       RAM_USABLE };
	return n;
}
