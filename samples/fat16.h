/* SPDX-License-Identifier: MIT */
/*
 * The FAT16 file system: reading everything, long names and directories
 * included; writing new files, or new contents, with short names (8.3).
 *
 * Functions return 0 or a negated error.  After an error, and to see what the
 * host has changed, mount again: it costs two reads.
 */
#ifndef FAT16_H
#define FAT16_H

#include <stdbool.h>

#include "hcall.h"

#define FAT16_MAX_CLUSTERS	65524u
#define FAT16_MAX_CLUSTER_BYTES 65536u
#define FAT16_MAX_ENTRIES	65536u /* of a directory */
#define FAT16_NAME_BYTES	800u /* 255 characters in UTF-8, and NUL */

#define FAT16_DATE(y, m, d)	((uint16_t)(((y)-1980) << 9 | (m) << 5 | (d)))
#define FAT16_TIME(h, m, s)	((uint16_t)((h) << 11 | (m) << 5 | (s) / 2))

/* A directory entry as it is on the disk. */
struct fat16_slot {
	uint8_t name[11]; /* padded with spaces, without the dot */
	uint8_t attributes; /* FAT16_ATTR_* */
	uint8_t lower_case; /* FAT16_LOWER_* */
	uint8_t created_10ms;
	uint16_t created_time;
	uint16_t created_date;
	uint16_t accessed_date;
	uint16_t cluster_high; /* not in FAT16 */
	uint16_t time;
	uint16_t date;
	uint16_t cluster; /* the first; 0: none */
	uint32_t bytes;
};

HCALL_ASSERT(fat16_slot_size, sizeof(struct fat16_slot) == 32);

#define FAT16_ATTR_READ_ONLY  0x01
#define FAT16_ATTR_LABEL      0x08
#define FAT16_ATTR_DIRECTORY  0x10
#define FAT16_ATTR_ARCHIVE    0x20
#define FAT16_ATTR_LONG_NAME  0x0f
#define FAT16_LOWER_BASE      0x08
#define FAT16_LOWER_EXTENSION 0x10

/* A mounted file system; sectors are those of the calls, of 512 bytes. */
struct fat16 {
	struct hcall_device disk;
	uint32_t unit_sectors; /* a sector of the file system: least to write */
	uint32_t cluster_sectors;
	uint64_t fat_start;
	uint32_t fat_sectors; /* of one copy of the FAT */
	uint32_t fat_copies;
	uint64_t root_start;
	uint32_t root_entries;
	uint64_t data_start; /* where cluster 2 is */
	uint32_t clusters;
	uint16_t date, time; /* for what is written; ours to set */

	/* The FAT, and the first and last entry that we have changed. */
	uint16_t fat[65536];
	uint32_t dirty_first, dirty_last;

	/* The directory that was read last. */
	uint16_t dir_cluster; /* 0: the root */
	uint32_t dir_entries;
	struct fat16_slot dir[FAT16_MAX_ENTRIES];
};

/* A file or directory that was found. */
struct fat16_entry {
	char name[FAT16_NAME_BYTES]; /* the long one if there is one */
	char short_name[13];
	uint8_t attributes;
	uint16_t cluster;
	uint32_t bytes;
	uint32_t index; /* in the directory */
};

/* Where we are in a file that is being read. */
struct fat16_file {
	uint16_t cluster;
	uint32_t left_bytes;
};

/* A file that is being written. */
struct fat16_new_file {
	uint32_t index; /* in the directory */
	uint16_t old_cluster; /* what was in it before; 0: nothing */
	uint16_t cluster, last_cluster; /* its chain; 0: none yet */
	uint32_t bytes;
};

/* -ERR_NO_FAT16: something else is on this disk. */
int fat16_mount(struct fat16 *fs, const struct hcall_device *disk);
uint64_t fat16_free_bytes(const struct fat16 *fs);

/*
 * To list a directory, open it and call fat16_next() with *index = 0 at first
 * until it returns false.
 */
int fat16_open_directory(struct fat16 *fs, const char *path);
bool fat16_next(const struct fat16 *fs, uint32_t *index,
		struct fat16_entry *entry);

/*
 * To read a file, open it and call fat16_read() until it returns 0.  @bytes is
 * a multiple of FAT16_MAX_CLUSTER_BYTES.
 *
 * Return of fat16_read(): the bytes read, or a negated error.
 */
int fat16_open(struct fat16 *fs, const char *path, struct fat16_file *file);
int64_t fat16_read(const struct fat16 *fs, struct fat16_file *file,
		   void *buffer, uint32_t bytes);

/*
 * To write a file, create it, append to it, and commit it; or do all that at
 * once with fat16_write().  Before fat16_commit() nothing has changed on the
 * disk, and who gives up mounts again; when it returns, the file is there.  If
 * there was a file of that name, its contents are replaced at that moment: till
 * then there must be room for both.
 *
 * @bytes of fat16_append() is a multiple of FAT16_MAX_CLUSTER_BYTES but in the
 * last call.
 */
int fat16_create(struct fat16 *fs, const char *path,
		 struct fat16_new_file *file);
int fat16_append(struct fat16 *fs, struct fat16_new_file *file,
		 const void *data, uint32_t bytes);
int fat16_commit(struct fat16 *fs, const struct fat16_new_file *file);
int fat16_write(struct fat16 *fs, const char *path, const void *data,
		uint32_t bytes);

#endif /* FAT16_H */
