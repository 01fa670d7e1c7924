// SPDX-License-Identifier: MIT
/*
 * Disks.  A block call may do less than it was asked for, or nothing and say
 * -HCALL_EINTR, and is then made again with the rest; any other error is for
 * our caller.  RAM is mapped at its own address: a pointer is a gpa.
 */
#include "disk.h"
#include "hcall_call.h"
#include "string.h"

int disk_get(unsigned int index, struct hcall_device *disk)
{
	uint32_t device;

	for (device = 0;; device++) {
		int64_t n;

		memset(disk, 0, sizeof(*disk));
		n = hcall_device(device, (uintptr_t)disk, sizeof(*disk));
		if (n < 0)
			return (int)n;
		if (disk->class_id == HCALL_CLASS_BLOCK && !index--)
			return 0;
	}
}

static int transfer(const struct hcall_device *disk, uint64_t sector,
		    hcall_gpa buffer, uint32_t sectors, bool write)
{
	while (sectors) {
		uint32_t chunk = sectors < disk->u.block.max_sectors
					 ? sectors
					 : disk->u.block.max_sectors;
		int64_t n = write ? hcall_block_write(disk->unit, sector,
						      buffer, chunk)
				  : hcall_block_read(disk->unit, sector, buffer,
						     chunk);

		if (n == -HCALL_EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0 || n > chunk) /* no host does this: don't hang */
			return -HCALL_EIO;
		sector += (uint64_t)n;
		buffer += (uint64_t)n * HCALL_SECTOR_BYTES;
		sectors -= (uint32_t)n;
	}
	return 0;
}

int disk_read(const struct hcall_device *disk, uint64_t sector, void *buffer,
	      uint32_t sectors)
{
	return transfer(disk, sector, (uintptr_t)buffer, sectors, false);
}

int disk_write(const struct hcall_device *disk, uint64_t sector,
	       const void *data, uint32_t sectors)
{
	return transfer(disk, sector, (uintptr_t)data, sectors, true);
}

int disk_flush(const struct hcall_device *disk)
{
	int64_t error;

	do {
		error = hcall_block_flush(disk->unit);
	} while (error == -HCALL_EINTR);
	return (int)error;
}
