/* SPDX-License-Identifier: MIT */
/* Disks: whole transfers on top of the block calls. */
#ifndef DISK_H
#define DISK_H

#include "hcall.h"

/* Describes the disk number @index, 0, 1, ... until -HCALL_ENODEV. */
int disk_get(unsigned int index, struct hcall_device *disk);

/*
 * Any number of sectors of 512 bytes; @sector and @sectors are multiples of the
 * disk's block.  After an error part of them may have been transferred.
 */
int disk_read(const struct hcall_device *disk, uint64_t sector, void *buffer,
	      uint32_t sectors);
int disk_write(const struct hcall_device *disk, uint64_t sector,
	       const void *data, uint32_t sectors);

/* Waits until all that was written is on the disk. */
int disk_flush(const struct hcall_device *disk);

#endif /* DISK_H */
