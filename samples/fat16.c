// SPDX-License-Identifier: MIT
/*
 * FAT16.
 *
 * The whole FAT (128 KiB at most) and the directory in use are kept in memory,
 * so that looking at them needs no I/O and cannot fail.
 *
 * Nothing that comes from the disk is trusted: sizes are checked at mount, and
 * a chain of clusters is walked to its end, once, before it is used.
 *
 * A file is written in an order that leaves the disk usable wherever it stops,
 * with a flush between the steps: its data and FAT entries, in clusters that
 * were free; the one sector of its directory entry, which makes them the
 * file's; then the old clusters become free.  At worst clusters are lost.
 */
#include "fat16.h"
#include "disk.h"
#include "error.h"
#include "string.h"

#define FIRST_CLUSTER 2u
#define LAST_IN_CHAIN 0xfff8u /* this and above */
#define END_OF_CHAIN  0xffffu
#define MIN_CLUSTERS  4085u /* with fewer it would be FAT12 */

#define SLOT_END      0x00 /* first byte of the name: no more entries */
#define SLOT_DELETED  0xe5
#define SLOT_E5	      0x05 /* stands for 0xe5 */

#define ROOT	      0 /* the root directory has no clusters */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static bool is_power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* ---- Mounting ---------------------------------------------------------- */

/* Offsets in a boot sector, and in a master boot record. */
enum {
	BPB_SECTOR_BYTES = 11,
	BPB_CLUSTER_SECTORS = 13,
	BPB_RESERVED_SECTORS = 14,
	BPB_FATS = 16,
	BPB_ROOT_ENTRIES = 17,
	BPB_SECTORS_16 = 19,
	BPB_FAT_SECTORS = 22,
	BPB_SECTORS_32 = 32,
	MBR_PARTITIONS = 446,
	MBR_PARTITION_BYTES = 16,
	MBR_PARTITION_TYPE = 4,
	MBR_PARTITION_START = 8,
	BOOT_SIGNATURE = 510,
};

/* Takes the layout from a boot sector; false: it is not that of a FAT16. */
static bool parse_boot_sector(struct fat16 *fs, const uint8_t *boot,
			      uint64_t start)
{
	uint32_t sector_bytes = get16(boot + BPB_SECTOR_BYTES);
	uint32_t unit = sector_bytes / HCALL_SECTOR_BYTES;
	uint32_t cluster = boot[BPB_CLUSTER_SECTORS] * unit;
	uint32_t reserved = get16(boot + BPB_RESERVED_SECTORS) * unit;
	uint32_t fats = boot[BPB_FATS];
	uint32_t fat = get16(boot + BPB_FAT_SECTORS) * unit;
	uint32_t entries = get16(boot + BPB_ROOT_ENTRIES);
	uint32_t root_bytes = entries * (uint32_t)sizeof(struct fat16_slot);
	uint64_t sectors = get16(boot + BPB_SECTORS_16);
	uint64_t used;

	if (!sectors)
		sectors = get32(boot + BPB_SECTORS_32);
	sectors *= unit;

	if (get16(boot + BOOT_SIGNATURE) != 0xaa55 ||
	    !is_power_of_two(sector_bytes) || !unit || unit > 8 ||
	    !is_power_of_two(cluster) ||
	    cluster * HCALL_SECTOR_BYTES > FAT16_MAX_CLUSTER_BYTES ||
	    !reserved || fats < 1 || fats > 2 || !fat || !root_bytes ||
	    root_bytes % sector_bytes)
		return false;

	used = reserved + fats * fat + root_bytes / HCALL_SECTOR_BYTES;
	if (used >= sectors || start > fs->disk.u.block.sectors ||
	    sectors > fs->disk.u.block.sectors - start)
		return false;

	sectors = (sectors - used) / cluster;
	if (sectors < MIN_CLUSTERS || sectors > FAT16_MAX_CLUSTERS)
		return false;

	fs->unit_sectors = unit;
	fs->cluster_sectors = cluster;
	fs->fat_start = start + reserved;
	fs->fat_sectors = fat;
	fs->fat_copies = fats;
	fs->root_start = fs->fat_start + fats * fat;
	fs->root_entries = entries;
	fs->data_start = start + used;
	fs->clusters = (uint32_t)sectors;
	return true;
}

static bool is_fat16_partition(uint8_t type)
{
	return type == 0x04 || type == 0x06 || type == 0x0e;
}

/* Finds the boot sector: the disk's first, or that of the first partition. */
static int find_boot_sector(struct fat16 *fs)
{
	uint32_t block = fs->disk.u.block.block_bytes / HCALL_SECTOR_BYTES;
	uint8_t *sector = (uint8_t *)fs->dir; /* not in use yet */
	uint8_t mbr[HCALL_SECTOR_BYTES];
	unsigned int i;
	int error;

	if (!block || block * HCALL_SECTOR_BYTES > sizeof(fs->dir))
		return -ERR_BLOCK_SIZE;
	if (fs->disk.u.block.sectors < block)
		return -ERR_NO_FAT16;
	error = disk_read(&fs->disk, 0, sector, block);
	if (error)
		return error;
	if (parse_boot_sector(fs, sector, 0))
		return 0;
	if (get16(sector + BOOT_SIGNATURE) != 0xaa55)
		return -ERR_NO_FAT16;

	memcpy(mbr, sector, sizeof(mbr));
	for (i = 0; i < 4; i++) {
		const uint8_t *partition =
			mbr + MBR_PARTITIONS + i * MBR_PARTITION_BYTES;
		uint32_t start = get32(partition + MBR_PARTITION_START);

		if (!is_fat16_partition(partition[MBR_PARTITION_TYPE]) ||
		    start % block ||
		    start + (uint64_t)block > fs->disk.u.block.sectors)
			continue;
		error = disk_read(&fs->disk, start, sector, block);
		if (error)
			return error;
		if (parse_boot_sector(fs, sector, start))
			return 0;
	}
	return -ERR_NO_FAT16;
}

int fat16_mount(struct fat16 *fs, const struct hcall_device *disk)
{
	uint32_t unit_bytes, bytes;
	int error;

	fs->disk = *disk;
	error = find_boot_sector(fs);
	if (error)
		return error;

	unit_bytes = fs->unit_sectors * HCALL_SECTOR_BYTES;
	if (unit_bytes < fs->disk.u.block.block_bytes)
		return -ERR_BLOCK_SIZE;

	/* As much of the FAT as describes clusters, in whole sectors. */
	bytes = (FIRST_CLUSTER + fs->clusters) * (uint32_t)sizeof(fs->fat[0]);
	bytes = (bytes + unit_bytes - 1) / unit_bytes * unit_bytes;
	if (bytes > fs->fat_sectors * HCALL_SECTOR_BYTES)
		return -ERR_CORRUPT;

	fs->date = FAT16_DATE(1980, 1, 1);
	fs->time = 0;
	fs->dirty_first = UINT32_MAX;
	fs->dirty_last = 0;
	return disk_read(&fs->disk, fs->fat_start, fs->fat,
			 bytes / HCALL_SECTOR_BYTES);
}

/* ---- Clusters ---------------------------------------------------------- */

static bool is_cluster(const struct fat16 *fs, uint32_t cluster)
{
	return cluster >= FIRST_CLUSTER &&
	       cluster < FIRST_CLUSTER + fs->clusters;
}

static uint32_t cluster_bytes(const struct fat16 *fs)
{
	return fs->cluster_sectors * HCALL_SECTOR_BYTES;
}

static uint32_t clusters_for(const struct fat16 *fs, uint32_t bytes)
{
	return bytes / cluster_bytes(fs) + !!(bytes % cluster_bytes(fs));
}

static uint64_t cluster_start(const struct fat16 *fs, uint32_t cluster)
{
	return fs->data_start +
	       (uint64_t)(cluster - FIRST_CLUSTER) * fs->cluster_sectors;
}

/* Return: the clusters of a chain; -ERR_CORRUPT if it is not a sound one. */
static int chain_length(const struct fat16 *fs, uint32_t cluster)
{
	uint32_t length;

	if (!cluster) /* the file is empty */
		return 0;
	for (length = 0; length <= fs->clusters; length++) {
		if (length && cluster >= LAST_IN_CHAIN)
			return (int)length;
		if (!is_cluster(fs, cluster))
			return -ERR_CORRUPT;
		cluster = fs->fat[cluster];
	}
	return -ERR_CORRUPT; /* it bites its tail */
}

/* How many clusters, @max at most, follow each other on the disk too. */
static uint32_t run_length(const struct fat16 *fs, uint32_t cluster,
			   uint32_t max)
{
	uint32_t length = 1;

	while (length < max &&
	       fs->fat[cluster + length - 1] == cluster + length)
		length++;
	return length;
}

/* Reads @count clusters of a sound chain and moves *@cluster past them. */
static int read_clusters(const struct fat16 *fs, uint16_t *cluster,
			 uint8_t *buffer, uint32_t count)
{
	while (count) {
		uint32_t run = run_length(fs, *cluster, count);
		int error = disk_read(&fs->disk, cluster_start(fs, *cluster),
				      buffer, run * fs->cluster_sectors);

		if (error)
			return error;
		*cluster = fs->fat[*cluster + run - 1];
		buffer += run * cluster_bytes(fs);
		count -= run;
	}
	return 0;
}

static void set_fat(struct fat16 *fs, uint32_t cluster, uint32_t value)
{
	fs->fat[cluster] = (uint16_t)value;
	if (fs->dirty_first > cluster)
		fs->dirty_first = cluster;
	if (fs->dirty_last < cluster)
		fs->dirty_last = cluster;
}

/*
 * Adds @count clusters that were free to the end of a chain, @last; 0: makes a
 * new one.
 *
 * Return: -ERR_DISK_FULL, or 0 with the first of them in *@first; 0: none.
 */
static int allocate_chain(struct fat16 *fs, uint32_t count, uint16_t *last,
			  uint16_t *first)
{
	uint32_t cluster;

	*first = 0;
	for (cluster = FIRST_CLUSTER; count && is_cluster(fs, cluster);
	     cluster++) {
		if (fs->fat[cluster])
			continue;
		if (*last)
			set_fat(fs, *last, cluster);
		if (!*first)
			*first = (uint16_t)cluster;
		set_fat(fs, cluster, END_OF_CHAIN);
		*last = (uint16_t)cluster;
		count--;
	}
	return count ? -ERR_DISK_FULL : 0;
}

static void free_chain(struct fat16 *fs, uint32_t cluster)
{
	while (is_cluster(fs, cluster)) {
		uint32_t next = fs->fat[cluster];

		set_fat(fs, cluster, 0);
		cluster = next;
	}
}

/* Writes what has changed in the FAT to all its copies. */
static int write_fat(struct fat16 *fs)
{
	uint32_t per_unit =
		fs->unit_sectors * HCALL_SECTOR_BYTES / sizeof(fs->fat[0]);
	uint32_t first = fs->dirty_first / per_unit;
	uint32_t units = fs->dirty_last / per_unit - first + 1;
	uint32_t copy;

	if (fs->dirty_first > fs->dirty_last)
		return 0;
	for (copy = 0; copy < fs->fat_copies; copy++) {
		int error = disk_write(&fs->disk,
				       fs->fat_start + copy * fs->fat_sectors +
					       first * fs->unit_sectors,
				       fs->fat + first * per_unit,
				       units * fs->unit_sectors);

		if (error)
			return error;
	}
	fs->dirty_first = UINT32_MAX;
	fs->dirty_last = 0;
	return 0;
}

uint64_t fat16_free_bytes(const struct fat16 *fs)
{
	uint64_t free = 0;
	uint32_t cluster;

	for (cluster = FIRST_CLUSTER; is_cluster(fs, cluster); cluster++)
		free += !fs->fat[cluster];
	return free * cluster_bytes(fs);
}

/* ---- Names ------------------------------------------------------------- */

/* A character that a name may have and a terminal can show. */
static char printable(uint8_t c)
{
	return c < ' ' || c >= 0x7f ? '?' : (char)c;
}

static char *append_short(char *to, const struct fat16_slot *slot, int from,
			  int end, uint8_t lower)
{
	while (end > from && slot->name[end - 1] == ' ')
		end--;
	for (; from < end; from++) {
		char c = printable(slot->name[from]);

		if (slot->lower_case & lower && c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		*to++ = c;
	}
	return to;
}

static void short_name(const struct fat16_slot *slot, char *name)
{
	char *end = append_short(name, slot, 0, 8, FAT16_LOWER_BASE);

	if (slot->name[8] != ' ') {
		*end++ = '.';
		end = append_short(end, slot, 8, 11, FAT16_LOWER_EXTENSION);
	}
	*end = '\0';
}

static char *append_utf8(char *to, uint16_t c)
{
	if (c < 0x80) {
		*to++ = printable((uint8_t)c);
	} else if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
		*to++ = (char)(0x80 | (c & 0x3f));
	} else if (c >= 0xd800 && c < 0xe000) { /* beyond 16 bits */
		*to++ = '?';
	} else {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	}
	return to;
}

/*
 * A long name stands in the slots before that of the short name, 13 characters
 * in each, the last part first.
 */
#define LONG_PART_CHARACTERS 13
#define LONG_PARTS	     20
#define LONG_LAST_PART	     0x40 /* with the number of the part, in byte 0 */
#define LONG_CHECKSUM	     13 /* of the short name, in this byte */

#define LONG_UTF8_BYTES	     (3 * LONG_PART_CHARACTERS * LONG_PARTS)

HCALL_ASSERT(fat16_name_bytes, LONG_UTF8_BYTES < FAT16_NAME_BYTES);

static uint8_t checksum(const struct fat16_slot *slot)
{
	uint8_t sum = 0;
	int i;

	for (i = 0; i < 11; i++)
		sum = (uint8_t)((sum << 7 | sum >> 1) + slot->name[i]);
	return sum;
}

/* The long name of the slot at @index; false: it has none. */
static bool long_name(const struct fat16 *fs, uint32_t index, char *name)
{
	static const uint8_t offsets[LONG_PART_CHARACTERS] = {
		1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30
	};
	uint8_t sum = checksum(&fs->dir[index]);
	uint32_t part;
	int i;

	for (part = 1; part <= LONG_PARTS && part <= index; part++) {
		const struct fat16_slot *slot = &fs->dir[index - part];
		const uint8_t *bytes = (const uint8_t *)slot;

		if (slot->attributes != FAT16_ATTR_LONG_NAME ||
		    (bytes[0] & ~LONG_LAST_PART) != part ||
		    bytes[LONG_CHECKSUM] != sum)
			return false;
		for (i = 0; i < LONG_PART_CHARACTERS; i++) {
			uint16_t c = get16(bytes + offsets[i]);

			if (!c)
				break;
			name = append_utf8(name, c);
		}
		if (bytes[0] & LONG_LAST_PART) {
			*name = '\0';
			return true;
		}
	}
	return false;
}

/* Fills in the name of a new file; false: it is not one of 8.3 characters. */
static bool make_short_name(struct fat16_slot *slot, const char *name)
{
	int at = 0, end = 8;
	uint8_t lower = FAT16_LOWER_BASE, lowers = 0, uppers = 0;

	memset(slot->name, ' ', sizeof(slot->name));
	for (; *name; name++) {
		if (*name == '.' && at && end == 8) {
			at = 8;
			end = 11;
			lower = FAT16_LOWER_EXTENSION;
			continue;
		}
		if (at == end || *name <= ' ' || *name > '~' ||
		    strchr("\"*+,./:;<=>?[\\]|", *name))
			return false;
		if (is_lower(*name))
			lowers |= lower;
		if (*name >= 'A' && *name <= 'Z')
			uppers |= lower;
		slot->name[at++] = (uint8_t)to_upper(*name);
	}
	/* Only a part that is all in lower case can be kept so. */
	slot->lower_case = lowers & (uint8_t)~uppers;
	return at && !(end == 11 && at == 8); /* "x." has no extension */
}

/* ---- Directories ------------------------------------------------------- */

static int load_directory(struct fat16 *fs, uint16_t cluster)
{
	int length;

	fs->dir_cluster = cluster;
	if (cluster == ROOT) {
		fs->dir_entries = fs->root_entries;
		return disk_read(&fs->disk, fs->root_start, fs->dir,
				 fs->root_entries * sizeof(fs->dir[0]) /
					 HCALL_SECTOR_BYTES);
	}
	length = chain_length(fs, cluster);
	if (length < 0)
		return length;
	if ((uint64_t)length * cluster_bytes(fs) > sizeof(fs->dir))
		return -ERR_CORRUPT;
	fs->dir_entries =
		(uint32_t)length * cluster_bytes(fs) / sizeof(fs->dir[0]);
	return read_clusters(fs, &cluster, (uint8_t *)fs->dir,
			     (uint32_t)length);
}

static uint32_t slots_per_unit(const struct fat16 *fs)
{
	return fs->unit_sectors * HCALL_SECTOR_BYTES / sizeof(fs->dir[0]);
}

/* Writes the sector in which the entry at @index is. */
static int write_slot(struct fat16 *fs, uint32_t index)
{
	uint32_t per_unit = slots_per_unit(fs);
	uint32_t sector = index / per_unit * fs->unit_sectors;
	const void *data = &fs->dir[index / per_unit * per_unit];
	uint32_t cluster = fs->dir_cluster;
	uint64_t start = fs->root_start;

	if (cluster != ROOT) {
		for (; sector >= fs->cluster_sectors;
		     sector -= fs->cluster_sectors)
			cluster = fs->fat[cluster];
		start = cluster_start(fs, cluster);
	}
	return disk_write(&fs->disk, start + sector, data, fs->unit_sectors);
}

bool fat16_next(const struct fat16 *fs, uint32_t *index,
		struct fat16_entry *entry)
{
	while (*index < fs->dir_entries) {
		uint32_t i = (*index)++;
		const struct fat16_slot *slot = &fs->dir[i];

		if (slot->name[0] == SLOT_END)
			break;
		if (slot->name[0] == SLOT_DELETED ||
		    slot->attributes & FAT16_ATTR_LABEL) /* or a long name */
			continue;
		short_name(slot, entry->short_name);
		if (!long_name(fs, i, entry->name))
			memcpy(entry->name, entry->short_name,
			       sizeof(entry->short_name));
		entry->attributes = slot->attributes;
		entry->cluster = slot->cluster;
		entry->bytes = slot->bytes;
		entry->index = i;
		return true;
	}
	return false;
}

/*
 * Finds what @path names, and leaves in fs->dir the directory it is in.  For
 * -ERR_NOT_FOUND *@missing is what is left of the path from the name that is
 * not in fs->dir.
 */
static int find(struct fat16 *fs, const char *path, struct fat16_entry *entry,
		const char **missing)
{
	entry->attributes = FAT16_ATTR_DIRECTORY;
	entry->cluster = ROOT;

	for (;;) {
		uint32_t index = 0;
		size_t length = 0;
		int error;

		while (*path == '/')
			path++;
		if (!*path)
			return 0;
		while (path[length] && path[length] != '/')
			length++;

		if (!(entry->attributes & FAT16_ATTR_DIRECTORY))
			return -ERR_NOT_DIRECTORY;
		error = load_directory(fs, entry->cluster);
		if (error)
			return error;
		do {
			if (!fat16_next(fs, &index, entry)) {
				*missing = path;
				return -ERR_NOT_FOUND;
			}
		} while (!equal_ignoring_case(path, length, entry->name) &&
			 !equal_ignoring_case(path, length, entry->short_name));
		path += length;
	}
}

int fat16_open_directory(struct fat16 *fs, const char *path)
{
	struct fat16_entry entry;
	const char *missing;
	int error = find(fs, path, &entry, &missing);

	if (error)
		return error;
	if (!(entry.attributes & FAT16_ATTR_DIRECTORY))
		return -ERR_NOT_DIRECTORY;
	return load_directory(fs, entry.cluster);
}

/* ---- Files ------------------------------------------------------------- */

/* Return: the clusters of a file, or an error if it cannot be one. */
static int check_file(const struct fat16 *fs, const struct fat16_entry *entry)
{
	int length;

	if (entry->attributes & FAT16_ATTR_DIRECTORY)
		return -ERR_IS_DIRECTORY;
	length = chain_length(fs, entry->cluster);
	if (length >= 0 && (uint32_t)length < clusters_for(fs, entry->bytes))
		return -ERR_CORRUPT;
	return length;
}

int fat16_open(struct fat16 *fs, const char *path, struct fat16_file *file)
{
	struct fat16_entry entry;
	const char *missing;
	int error = find(fs, path, &entry, &missing);

	if (error)
		return error;
	file->cluster = entry.cluster;
	file->left_bytes = entry.bytes;
	error = check_file(fs, &entry);
	return error < 0 ? error : 0;
}

int64_t fat16_read(const struct fat16 *fs, struct fat16_file *file,
		   void *buffer, uint32_t bytes)
{
	int error;

	if (bytes > file->left_bytes)
		bytes = file->left_bytes;
	error = read_clusters(fs, &file->cluster, buffer,
			      clusters_for(fs, bytes));
	if (error)
		return error;
	file->left_bytes -= bytes;
	return bytes;
}

/* Writes @count clusters of a chain and moves *@cluster past them. */
static int write_clusters(const struct fat16 *fs, uint16_t *cluster,
			  const uint8_t *data, uint32_t count)
{
	while (count) {
		uint32_t run = run_length(fs, *cluster, count);
		int error = disk_write(&fs->disk, cluster_start(fs, *cluster),
				       data, run * fs->cluster_sectors);

		if (error)
			return error;
		*cluster = fs->fat[*cluster + run - 1];
		data += run * cluster_bytes(fs);
		count -= run;
	}
	return 0;
}

/* Takes a free entry of fs->dir for a new file. */
static int new_slot(struct fat16 *fs, const char *name, uint32_t *index)
{
	struct fat16_slot slot = {
		.attributes = FAT16_ATTR_ARCHIVE,
		.created_date = fs->date,
		.created_time = fs->time,
	};
	uint32_t i = 0;
	bool was_end;

	if (!make_short_name(&slot, name))
		return -ERR_BAD_NAME;
	while (i < fs->dir_entries && fs->dir[i].name[0] != SLOT_END &&
	       fs->dir[i].name[0] != SLOT_DELETED)
		i++;
	if (i == fs->dir_entries)
		return -ERR_DIRECTORY_FULL;

	was_end = fs->dir[i].name[0] == SLOT_END;
	fs->dir[i] = slot;
	*index = i++;

	/*
	 * The entry that is now the end need not have been marked as such.  It
	 * is written with ours, unless it is in the next sector.
	 */
	if (was_end && i < fs->dir_entries && fs->dir[i].name[0] != SLOT_END) {
		fs->dir[i].name[0] = SLOT_END;
		if (i % slots_per_unit(fs) == 0)
			return write_slot(fs, i);
	}
	return 0;
}

/* The entry of the file to write, a new one if need be, and its clusters. */
static int open_slot(struct fat16 *fs, const char *path, uint32_t *index,
		     uint16_t *old_cluster)
{
	struct fat16_entry entry;
	const char *missing;
	int error = find(fs, path, &entry, &missing);

	*old_cluster = 0;
	if (error == -ERR_NOT_FOUND)
		return new_slot(fs, missing, index);
	if (error)
		return error;

	error = check_file(fs, &entry);
	if (error < 0)
		return error;
	if (entry.attributes & FAT16_ATTR_READ_ONLY)
		return -ERR_READ_ONLY;
	*index = entry.index;
	*old_cluster = entry.cluster;
	return 0;
}

int fat16_create(struct fat16 *fs, const char *path,
		 struct fat16_new_file *file)
{
	memset(file, 0, sizeof(*file));
	return open_slot(fs, path, &file->index, &file->old_cluster);
}

/* Step 1: the data, and in memory the chain that holds it. */
int fat16_append(struct fat16 *fs, struct fat16_new_file *file,
		 const void *data, uint32_t bytes)
{
	static uint8_t last[FAT16_MAX_CLUSTER_BYTES];
	uint32_t whole = bytes / cluster_bytes(fs);
	uint32_t rest = bytes % cluster_bytes(fs);
	uint16_t cluster;
	int error;

	error = allocate_chain(fs, whole + !!rest, &file->last_cluster,
			       &cluster);
	if (error)
		return error;
	if (!file->cluster)
		file->cluster = cluster;
	file->bytes += bytes;

	error = write_clusters(fs, &cluster, data, whole);
	if (error || !rest)
		return error;
	/* What is left of the last cluster becomes zeros. */
	memset(last, 0, cluster_bytes(fs));
	memcpy(last, (const uint8_t *)data + bytes - rest, rest);
	return write_clusters(fs, &cluster, last, 1);
}

int fat16_commit(struct fat16 *fs, const struct fat16_new_file *file)
{
	struct fat16_slot *slot = &fs->dir[file->index];
	int error;

	/* The end of step 1. */
	error = write_fat(fs);
	if (!error)
		error = disk_flush(&fs->disk);
	if (error)
		return error;

	/* 2: the directory entry; this is the moment when the file changes. */
	slot->cluster = file->cluster;
	slot->bytes = file->bytes;
	slot->date = slot->accessed_date = fs->date;
	slot->time = fs->time;
	slot->attributes |= FAT16_ATTR_ARCHIVE;
	error = write_slot(fs, file->index);
	if (!error)
		error = disk_flush(&fs->disk);
	if (error || !file->old_cluster)
		return error;

	/* 3: the old contents. */
	free_chain(fs, file->old_cluster);
	error = write_fat(fs);
	if (!error)
		error = disk_flush(&fs->disk);
	return error;
}

int fat16_write(struct fat16 *fs, const char *path, const void *data,
		uint32_t bytes)
{
	struct fat16_new_file file;
	int error = fat16_create(fs, path, &file);

	if (!error)
		error = fat16_append(fs, &file, data, bytes);
	if (!error)
		error = fat16_commit(fs, &file);
	return error;
}
