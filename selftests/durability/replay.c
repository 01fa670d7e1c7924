// SPDX-License-Identifier: GPL-2.0
/*
 * Replays what dm-log-writes has logged below the guest's disk, and looks after each
 * entry that is a flush or a mark if all records (record.h) are there that were
 * acknowledged by then.  A mark's text is the number of the last one.
 *
 * The log has a write only from the flush on that made it durable, so what is replayed
 * is the disk whose cache was lost, at its worst.
 *
 * usage: replay LOG IMAGE LAST [SCRATCH]
 *	LOG	the log device's file
 *	IMAGE	what the disk was in the beginning; changed
 *	LAST	how many records there are
 *	SCRATCH	IMAGE has a file system (ext4) with the records in its file "disk": mount
 *		it, a copy, as after a crash; this is the file for the copy
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record.h"

/*
 * The log's format: drivers/md/dm-log-writes.c of Linux, whose first comment and
 * Documentation/admin-guide/device-mapper/log-writes.rst say what is logged when.
 * Numbers are little-endian.
 */
#define LOG_MAGIC   0x6a736677736872u
#define LOG_VERSION 1u
#define LOG_FLUSH   (1u << 0)
#define LOG_DISCARD (1u << 2)
#define LOG_MARK    (1u << 3)
#define LOG_END	    "dm-log-writes-end"

/**
 * struct log_super - what is in the first sector of the log
 * @magic:        LOG_MAGIC
 * @version:      LOG_VERSION
 * @entries:      so many follow
 * @sector_bytes: the unit of all sectors in the log
 */
struct log_super {
	uint64_t magic;
	uint64_t version;
	uint64_t entries;
	uint32_t sector_bytes;
};

/**
 * struct log_entry - a sector before each write, with the text of a mark behind it
 * @sector:  where the disk was written
 * @sectors: so many, which are the next of the log; a discard has none there
 * @flags:   LOG_*
 * @bytes:   length of a mark's text
 */
struct log_entry {
	uint64_t sector;
	uint64_t sectors;
	uint64_t flags;
	uint64_t bytes;
};

/* A file in memory. */
struct image {
	int fd;
	uint8_t *data;
	uint64_t bytes;
};

static uint64_t acked;
static uint64_t acked_in[DISK_SECTORS]; /* the youngest for each sector */

__attribute__((noreturn, format(printf, 1, 2))) static void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	exit(1);
}

#define NEED(cond)                                                     \
	do {                                                           \
		if (!(cond))                                           \
			die("replay: %s: %s", #cond, strerror(errno)); \
	} while (0)

static struct image image_open(const char *path, uint64_t bytes)
{
	struct image image = { .fd = open(path, O_RDWR | O_CREAT, 0600) };
	struct stat st;

	NEED(image.fd >= 0);
	if (bytes)
		NEED(!ftruncate(image.fd, bytes));
	NEED(!fstat(image.fd, &st));
	image.bytes = st.st_size;
	image.data = mmap(NULL, image.bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			  image.fd, 0);
	NEED(image.data != MAP_FAILED);
	return image;
}

/* ---- Records -------------------------------------------------------------------- */

static void acknowledge(uint64_t n)
{
	while (acked < n) {
		uint64_t *slot = &acked_in[record_slot(++acked) * SLOT_SECTORS];

		for (uint32_t i = 0; i < record_sectors(acked); i++)
			slot[i] = acked;
	}
}

/* Is this as record @oldest left it, or a younger one? */
static bool sector_is_good(uint32_t slot, uint32_t i, const uint64_t *sector,
			   uint64_t oldest)
{
	static const uint64_t zeros[SECTOR_BYTES / 8];
	uint64_t want[SECTOR_BYTES / 8], n, last = acked + MAX_AHEAD;

	if (memcmp(sector, zeros, SECTOR_BYTES)) {
		n = record_number(i, sector);
		record_fill(n, i, want);
		return n >= oldest && n <= last && record_reaches(n, slot, i) &&
		       !record_zeroes(n) && !memcmp(sector, want, SECTOR_BYTES);
	}
	if (!oldest) /* as it was in the beginning */
		return true;
	for (n = oldest; n <= last; n += SLOTS)
		if (record_reaches(n, slot, i) && record_zeroes(n))
			return true;
	return false;
}

static void check_records(const uint8_t *disk, uint64_t entries)
{
	for (uint32_t s = 0; s < DISK_SECTORS; s++) {
		const uint64_t *sector =
			(const uint64_t *)(disk + s * SECTOR_BYTES);
		uint32_t slot = s / SLOT_SECTORS, i = s % SLOT_SECTORS;

		if (sector_is_good(slot, i, sector, acked_in[s]))
			continue;
		die("after %" PRIu64 " entries record %" PRIu64
		    " is acknowledged,"
		    " but sector %u does not have record %" PRIu64
		    " or younger: it begins with %#" PRIx64,
		    entries, acked, s, acked_in[s], sector[0]);
	}
}

/* ---- A file system -------------------------------------------------------------- */

/* Return: a loop device over @file, which goes away with its last user. */
static int loop_open(int file, char *path, size_t size)
{
	struct loop_config config = { .fd = file,
				      .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control, number, fd;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	NEED(control >= 0);
	number = ioctl(control, LOOP_CTL_GET_FREE);
	NEED(number >= 0);
	close(control);
	snprintf(path, size, "/dev/loop%d", number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	NEED(fd >= 0);
	NEED(!ioctl(fd, LOOP_CONFIGURE, &config));
	return fd;
}

/* The journal is replayed into a copy: the log goes on with what is there now. */
static void check_file(const struct image *image, const struct image *scratch,
		       const char *dir, uint64_t entries)
{
	static uint8_t disk[DISK_BYTES] __attribute__((aligned(8)));
	char device[32], path[256];
	int loop, file;
	bool whole;

	memcpy(scratch->data, image->data, image->bytes);
	loop = loop_open(scratch->fd, device, sizeof(device));
	if (mount(device, dir, "ext4", 0, ""))
		die("after %" PRIu64 " entries there is no file system: %s",
		    entries, strerror(errno));
	snprintf(path, sizeof(path), "%s/disk", dir);
	file = open(path, O_RDONLY | O_CLOEXEC);
	whole = file >= 0 && read(file, disk, DISK_BYTES) == DISK_BYTES;
	if (file >= 0)
		close(file);
	NEED(!umount(dir));
	close(loop);
	if (!whole)
		die("after %" PRIu64 " entries there is no whole file",
		    entries);
	check_records(disk, entries);
}

/* ---- The log -------------------------------------------------------------------- */

/* The next entry.  Return: where the one behind it is. */
static uint64_t replay(const struct image *log, uint64_t at, uint32_t unit,
		       const struct image *image, struct log_entry *entry)
{
	uint64_t to, bytes;

	NEED(at + unit <= log->bytes);
	memcpy(entry, log->data + at, sizeof(*entry));
	at += unit;
	to = entry->sector * unit;
	bytes = entry->sectors * unit;
	NEED(to + bytes <= image->bytes);
	if (entry->flags & LOG_DISCARD) {
		memset(image->data + to, 0, bytes);
		return at;
	}
	NEED(at + bytes <= log->bytes);
	memcpy(image->data + to, log->data + at, bytes);
	return at + bytes;
}

/* The text of the mark that ends before @at. */
static const char *mark_text(const struct image *log, uint64_t at,
			     uint32_t unit)
{
	return (const char *)log->data + at - unit + sizeof(struct log_entry);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/replay-XXXXXX";
	struct image log, image, scratch = { .fd = -1 };
	uint64_t at, n, last, flushes = 0, marks = 0;
	struct log_super super;
	struct log_entry entry;
	bool begun = false;
	const char *text;

	if (argc != 4 && argc != 5)
		die("usage: replay LOG IMAGE LAST [SCRATCH]");
	log = image_open(argv[1], 0);
	image = image_open(argv[2], 0);
	last = strtoull(argv[3], NULL, 0);
	if (argc == 5) {
		scratch = image_open(argv[4], image.bytes);
		NEED(mkdtemp(dir));
	}

	memcpy(&super, log.data, sizeof(super));
	if (super.magic != LOG_MAGIC || super.version != LOG_VERSION)
		die("%s is no log of dm-log-writes", argv[1]);
	at = super.sector_bytes;
	for (n = 1; n <= super.entries; n++) {
		at = replay(&log, at, super.sector_bytes, &image, &entry);
		if (entry.flags & LOG_MARK) {
			text = mark_text(&log, at, super.sector_bytes);
			if (!strcmp(text, LOG_END))
				break;
			acknowledge(strtoull(text, NULL, 10));
			begun = true;
			marks++;
		} else if (!begun || !(entry.flags & LOG_FLUSH)) {
			continue;
		} else {
			flushes++;
		}
		if (scratch.data)
			check_file(&image, &scratch, dir, n);
		else
			check_records(image.data, n);
	}
	if (n > super.entries)
		die("the log has no end: it was full, or out of memory");
	if (acked != last)
		die("record %" PRIu64 " is the last in the log, not %" PRIu64,
		    acked, last);
	printf("%" PRIu64 " records are there after each of %" PRIu64
	       " flushes and %" PRIu64 " marks\n",
	       last, flushes, marks);
	if (scratch.data)
		rmdir(dir);
	return 0;
}
