// SPDX-License-Identifier: GPL-2.0
/*
 * Disks: files or block devices, opened once and locked (flock(2): exclusive,
 * or shared if read-only) for as long as hvrun runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "hvrun.h"

const char *disk_parse(const char *spec, struct disk **list)
{
	struct disk *disk = calloc(1, sizeof(*disk)), **last = list;
	const char *mistake;
	bool taken = true;
	char *path;

	if (!disk)
		die("out of memory");
	mistake = spec_name(spec, "a disk is NAME=PATH[,ro][,direct]",
			    disk->name, &path);
	if (mistake)
		return mistake;
	while (taken) {
		taken = false;
		if (spec_take_flag(path, ",ro"))
			taken = disk->read_only = true;
		if (spec_take_flag(path, ",direct"))
			taken = disk->direct = true;
	}
	disk->path = path;
	for (; *last; last = &(*last)->next)
		if (!strcmp((*last)->name, disk->name))
			return "another disk has this name already";
	*last = disk;
	return NULL;
}

__attribute__((noreturn)) static void cannot_open(const struct disk *disk)
{
	const char *hint = "";

	if (errno == ENOENT && strchr(disk->path, ','))
		hint = " (after a comma there can be 'ro' and 'direct')";
	else if (errno == ENOENT)
		hint = "; make it with: truncate -s 64M FILE";
	else if ((errno == EACCES || errno == EROFS || errno == EPERM) &&
		 !disk->read_only)
		hint = "; to only read it, add ,ro";
	else if (errno == EINVAL && disk->direct)
		hint = ": its file system cannot do direct I/O: leave out ,direct";
	die("disk %s: %s: %s%s", disk->name, disk->path, strerror(errno), hint);
}

void disk_check_size(const struct disk *disk)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(disk->fd, &st) < 0)
		cannot_open(disk);
	if (S_ISREG(st.st_mode))
		bytes = st.st_size;
	else if (!S_ISBLK(st.st_mode))
		die("disk %s: %s is %s, not a file or block device", disk->name,
		    disk->path,
		    S_ISDIR(st.st_mode) ? "a directory" : "a device or pipe");
	else if (ioctl(disk->fd, BLKGETSIZE64, &bytes) < 0)
		cannot_open(disk);
	if (!bytes)
		die("disk %s: %s is empty; give it a size with: truncate -s 64M FILE",
		    disk->name, disk->path);
	if (bytes % HCALL_SECTOR_BYTES)
		die("disk %s: %s has %llu bytes, which is no multiple of %u; "
		    "fill it up with: truncate -s %%%u FILE",
		    disk->name, disk->path, (unsigned long long)bytes,
		    HCALL_SECTOR_BYTES, HCALL_SECTOR_BYTES);
}

void disk_open(struct disk *disk)
{
	int flags = disk->read_only ? O_RDONLY : O_RDWR;

	if (disk->direct)
		flags |= O_DIRECT;
	disk->fd = open(disk->path, flags | O_CLOEXEC | O_NONBLOCK);
	if (disk->fd < 0)
		cannot_open(disk);
	disk_check_size(disk);
	if (flock(disk->fd, (disk->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) <
	    0) {
		if (errno == EWOULDBLOCK)
			die("disk %s: %s is in use by another hvrun, or is another "
			    "disk or the console of this one%s",
			    disk->name, disk->path,
			    disk->read_only ? ""
					    : "; to share it, all add ,ro");
		note("disk %s: %s cannot be locked: %s", disk->name, disk->path,
		     strerror(errno));
	}
}
