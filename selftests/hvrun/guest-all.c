// SPDX-License-Identifier: GPL-2.0
/*
 * One guest for all tests of hvrun: the first word of its command line says
 * what to do, numbers follow; see the table at the end.  It says "ready" before
 * it does something that has no end, so that a test knows when to interfere.
 */
#include "console.h"
#include "disk.h"
#include "guest-all.h"
#include "guest-smp.h"
#include "hcall_call.h"
#include "string.h"

#define CONSOLE	       0
#define DISK	       0
#define LINE_BYTES     8
#define LINES_BYTES    4096 /* written at once */
#define CHUNK_SECTORS  16
#define CHUNK_BYTES    (CHUNK_SECTORS * HCALL_SECTOR_BYTES)
#define MAX_NUMBERS    4
#define USER_CALL      HCALL_NR(HCALL_CLASS_USER_FIRST, 0)
#define UNCLAIMED_PORT 0x80
#define FAR_SECTOR     (1ull << 40)

const struct hvm_start_info *start_info;
static uint8_t bytes[65536];

void off(uint32_t code)
{
	hcall_exit(HCALL_EXIT_OFF, code);
	for (;;)
		__asm__ __volatile__("hlt");
}

/* Up to @most bytes of input; 0: it has ended. */
static uint64_t input(uint64_t most)
{
	int64_t n;

	do {
		n = hcall_console_read(CONSOLE, (uintptr_t)bytes,
				       most < sizeof(bytes) ? (uint32_t)most
							    : sizeof(bytes),
				       0);
	} while (n == -HCALL_EAGAIN || n == -HCALL_EINTR);
	if (n < 0)
		off(WRONG);
	return (uint64_t)n;
}

/* ---- The end of a guest -------------------------------------------------- */

static void do_off(const uint64_t *n)
{
	off((uint32_t)n[0]);
}

static void do_panic(const uint64_t *n)
{
	hcall_exit(HCALL_EXIT_PANIC, (uint32_t)n[0]);
}

/* Count on the disk, and reboot until it is n[0]. */
static void do_reboots(const uint64_t *n)
{
	static uint64_t sector[HCALL_SECTOR_BYTES / sizeof(uint64_t)];

	if (hcall_block_read(DISK, 0, (uintptr_t)sector, 1) != 1)
		off(WRONG);
	print("boot %lu\n", sector[0]++);
	if (sector[0] > n[0])
		off((uint32_t)sector[0]);
	if (hcall_block_write(DISK, 0, (uintptr_t)sector, 1) != 1 ||
	    hcall_block_flush(DISK))
		off(WRONG);
	hcall_exit(HCALL_EXIT_REBOOT, 0);
}

static void do_reboot(const uint64_t *n)
{
	(void)n;
	hcall_exit(HCALL_EXIT_REBOOT, 0);
}

static void do_triple(const uint64_t *n)
{
	(void)n;
	__asm__ __volatile__("ud2"); /* and there is no IDT */
}

/* A jump to where there is nothing. */
static void do_jump(const uint64_t *n)
{
	__asm__ __volatile__("jmp *%0" : : "r"(n[0]));
}

static void do_spin(const uint64_t *n)
{
	(void)n;
	print("ready\n");
	for (;;)
		;
}

static void do_halt(const uint64_t *n)
{
	(void)n;
	print("ready\n");
	for (;;)
		__asm__ __volatile__("cli; hlt");
}

static void do_getc(const uint64_t *n)
{
	(void)n;
	print("ready\n");
	for (;;)
		hcall_console_getc(CONSOLE, 0);
}

static void do_reads(const uint64_t *n)
{
	(void)n;
	print("ready\n");
	for (;;)
		hcall_block_read(DISK, 0, (uintptr_t)bytes, CHUNK_SECTORS);
}

/* ---- Console ------------------------------------------------------------- */

/* Everything, or n[0] bytes if that is not 0. */
static void do_echo(const uint64_t *n)
{
	uint64_t left = n[0] ? n[0] : UINT64_MAX, got;

	while (left && (got = input(left))) {
		console_write(bytes, got);
		left -= got;
	}
	off(n[0] && left ? WRONG : 0);
}

/* n[0] numbered lines of 8 bytes; then nothing for ever, if n[1]. */
static void do_lines(const uint64_t *n)
{
	size_t used = 0, digit;
	uint64_t i, value;

	for (i = 0; i < n[0]; i++) {
		bytes[used + LINE_BYTES - 1] = '\n';
		value = i;
		for (digit = LINE_BYTES - 1; digit--; value /= 10)
			bytes[used + digit] = (uint8_t)('0' + value % 10);
		used += LINE_BYTES;
		if (used == LINES_BYTES || i + 1 == n[0]) {
			console_write(bytes, used);
			used = 0;
		}
	}
	while (n[1])
		;
	off(0);
}

/* Each byte of input in hexadecimal, until it is a q. */
static void do_keys(const uint64_t *n)
{
	(void)n;
	print("ready\n");
	while (input(1)) {
		print("<%02x>\n", bytes[0]);
		if (bytes[0] == 'q')
			off(0);
	}
	off(1);
}

/* The size, again after each byte of input, until it is a q. */
static void do_size(const uint64_t *n)
{
	struct hcall_device con;
	int64_t size;

	(void)n;
	do {
		size = hcall_console_size(CONSOLE);
		if (size < 0 ||
		    hcall_device(0, (uintptr_t)&con, sizeof(con)) < 0 ||
		    con.class_id != HCALL_CLASS_CONSOLE ||
		    con.u.console.columns != HCALL_SIZE_COLUMNS(size) ||
		    con.u.console.rows != HCALL_SIZE_ROWS(size))
			off(WRONG);
		print("size %ux%u\n", HCALL_SIZE_COLUMNS(size),
		      HCALL_SIZE_ROWS(size));
	} while (input(1) && bytes[0] != 'q');
	off(0);
}

/* The error of a byte written, as exit code. */
static void do_putc(const uint64_t *n)
{
	int64_t error = hcall_console_putc(CONSOLE, '.', 0);

	(void)n;
	off(error < 0 ? (uint32_t)-error : 0);
}

/* ---- Machine ------------------------------------------------------------- */

static bool is_reserved(uint64_t gpa)
{
	const struct hvm_memmap_table_entry *map =
		(const void *)start_info->memmap_paddr;
	uint32_t i;

	for (i = 0; i < start_info->memmap_entries; i++)
		if (gpa >= map[i].addr && gpa - map[i].addr < map[i].size)
			return map[i].type != 1;
	return false;
}

/* A word at either end of a range of RAM keeps what is written into it. */
static bool is_memory(uint64_t gpa)
{
	volatile uint64_t *word = (volatile uint64_t *)gpa;
	uint64_t before = *word;
	bool same;

	*word = ~gpa;
	same = *word == ~gpa;
	*word = before;
	return same;
}

static void do_memmap(const uint64_t *n)
{
	const struct hvm_memmap_table_entry *map =
		(const void *)start_info->memmap_paddr;
	uint64_t ram_bytes = 0, end = 0, stack;
	uint32_t i;

	(void)n;
	__asm__("movq %%rsp, %0" : "=r"(stack));
	for (i = 0; i < start_info->memmap_entries; i++) {
		print("%lx %lx %u\n", map[i].addr, map[i].size, map[i].type);
		if (map[i].addr < end || !map[i].size ||
		    map[i].addr + map[i].size < map[i].addr)
			off(WRONG + 1);
		end = map[i].addr + map[i].size;
		if (map[i].type != 1)
			continue;
		ram_bytes += map[i].size;
		if (!is_memory(map[i].addr) || !is_memory(end - 8))
			off(WRONG + 2);
	}
	/* What was put there for us must not look free. */
	if (!is_reserved((uintptr_t)start_info) ||
	    !is_reserved(start_info->cmdline_paddr) ||
	    !is_reserved(start_info->memmap_paddr) ||
	    !is_reserved(start_info->rsdp_paddr) || !is_reserved(stack) ||
	    is_reserved((uintptr_t)do_memmap))
		off(WRONG + 3);
	print("RAM %lu KiB\n", ram_bytes >> 10);
	off(0);
}

static void do_args(const uint64_t *n)
{
	(void)n;
	print("[%s]\n", (const char *)start_info->cmdline_paddr);
	off(0);
}

/* n[0] reads, n[1] wrong ones, n[2] to a port, n[3] of a class that is not. */
static void do_count(const uint64_t *n)
{
	uint64_t i;

	for (i = 0; i < n[0]; i++)
		if (hcall_block_read(DISK, 0, (uintptr_t)bytes, 1) != 1)
			off(WRONG);
	for (i = 0; i < n[1]; i++)
		if (hcall_block_read(DISK, FAR_SECTOR, (uintptr_t)bytes, 1) !=
		    -HCALL_ERANGE)
			off(WRONG + 1);
	for (i = 0; i < n[2]; i++)
		__asm__ __volatile__("outb %%al, %%dx"
				     :
				     : "a"(0), "d"(UNCLAIMED_PORT));
	for (i = 0; i < n[3]; i++)
		if (hcall(USER_CALL, 0, 0, 0, 0) != -HCALL_ENOSYS)
			off(WRONG + 2);
	off(0);
}

/* ---- Disks and CPUs ------------------------------------------------------ */

static void do_disks(const uint64_t *n)
{
	struct hcall_device disk;
	unsigned int i;

	(void)n;
	for (i = 0; !disk_get(i, &disk); i++)
		print("%u %s %lu %u %s\n", disk.unit, disk.name,
		      disk.u.block.sectors, disk.u.block.block_bytes,
		      disk.flags & HCALL_DEVICE_READONLY ? "ro" : "rw");
	off(i);
}

/* The same of all disks each time that something is new, until one has n[0]. */
static void do_sizes(const uint64_t *n)
{
	struct hcall_device disk;
	bool last = false;
	unsigned int i;

	while (!last) {
		for (i = 0; !disk_get(i, &disk); i++) {
			print("%s has %lu\n", disk.name, disk.u.block.sectors);
			if (disk.u.block.sectors == n[0])
				last = true;
		}
		if (!last)
			hcall_event_wait(0, 0);
		while (hcall_event_next() >= 0)
			;
	}
	off(0);
}

/* Copy all of disk 0 to disk 1, and ask for a write to disk n[0] to fail. */
static void do_copy(const uint64_t *n)
{
	struct hcall_device from, to;
	uint64_t sector;

	if (disk_get(0, &from) || disk_get(1, &to))
		off(WRONG);
	for (sector = 0; sector < from.u.block.sectors; sector += CHUNK_SECTORS)
		if (disk_read(&from, sector, bytes, CHUNK_SECTORS) ||
		    disk_write(&to, sector, bytes, CHUNK_SECTORS))
			off(WRONG + 1);
	if (disk_flush(&to))
		off(WRONG + 2);
	if (hcall_block_write((uint32_t)n[0], 0, (uintptr_t)bytes,
			      CHUNK_SECTORS) != -HCALL_EROFS)
		off(WRONG + 3);
	off(0);
}

static unsigned int wrong_cpus;

/* Each word of the disk holds its own number. */
static void read_all(uint32_t id)
{
	static uint8_t buffers[MAX_CPUS][CHUNK_BYTES];
	uint8_t *buffer = buffers[id % MAX_CPUS];
	struct hcall_device disk;
	uint64_t sector, word, i, wrong = 0;

	if (disk_get(DISK, &disk))
		wrong++;
	for (sector = 0; !wrong && sector < disk.u.block.sectors;
	     sector += CHUNK_SECTORS) {
		memset(buffer, 0xff, CHUNK_BYTES);
		if (disk_read(&disk, sector, buffer, CHUNK_SECTORS))
			wrong++;
		for (i = 0; i < CHUNK_BYTES / sizeof(word); i++) {
			memcpy(&word, buffer + i * sizeof(word), sizeof(word));
			wrong += word !=
				 sector * HCALL_SECTOR_BYTES / sizeof(word) + i;
		}
	}
	if (wrong)
		__atomic_fetch_add(&wrong_cpus, 1, __ATOMIC_SEQ_CST);
	print("cpu %u has read %lu sectors, %lu words are wrong\n", id,
	      disk.u.block.sectors, wrong);
}

unsigned int start_cpus(void (*run)(uint32_t id))
{
	const char *why;
	unsigned int cpus = smp_start(start_info, run, &why);

	if (!cpus) {
		print("ACPI: wrong %s\n", why);
		off(WRONG);
	}
	return cpus;
}

static void do_smp(const uint64_t *n)
{
	unsigned int cpus = start_cpus(read_all);

	(void)n;
	read_all(smp_id());
	smp_wait();
	print("%u cpus\n", cpus);
	off(wrong_cpus);
}

/* Everything at once, without an end, for the one who kills hvrun. */
static void churn(uint32_t id)
{
	static uint8_t buffers[MAX_CPUS][CHUNK_BYTES];
	uint8_t *buffer = buffers[id % MAX_CPUS];
	uint64_t i;

	for (i = id;; i += 7) {
		hcall_block_write(DISK, i % 1024, (uintptr_t)buffer,
				  CHUNK_SECTORS);
		hcall_block_read(DISK, i * 5 % 1024, (uintptr_t)buffer,
				 CHUNK_SECTORS);
		if (i % 16 == 0)
			hcall_block_flush(DISK);
		print("cpu %u, turn %lu\n", id, i);
	}
}

static void do_churn(const uint64_t *n)
{
	(void)n;
	start_cpus(churn);
	churn(smp_id());
}

/* All of n[0] MiB of memory, from 4 MiB on, while the other CPUs are at work. */
static void do_fill(const uint64_t *n)
{
	volatile uint8_t *page;

	start_cpus(churn);
	for (uint64_t i = 0; i < n[0] << 8; i++) {
		page = (volatile uint8_t *)((4 << 20) + (i << 12));
		*page = 1;
	}
	churn(smp_id());
}

/* ---- The command line ---------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(const uint64_t *numbers);
} commands[] = {
	{ "args", do_args },	   { "arp", do_arp },
	{ "churn", do_churn },	   { "copy", do_copy },
	{ "count", do_count },	   { "disks", do_disks },
	{ "echo", do_echo },	   { "events", do_events },
	{ "fill", do_fill },	   { "frames", do_frames },
	{ "getc", do_getc },	   { "halt", do_halt },
	{ "inputs", do_inputs },   { "irq", do_irq },
	{ "jump", do_jump },	   { "keys", do_keys },
	{ "lights", do_lights },   { "lines", do_lines },
	{ "links", do_links },	   { "memmap", do_memmap },
	{ "nets", do_nets },	   { "off", do_off },
	{ "panic", do_panic },	   { "putc", do_putc },
	{ "reads", do_reads },	   { "reboot", do_reboot },
	{ "reboots", do_reboots }, { "routes", do_routes },
	{ "size", do_size },	   { "sizes", do_sizes },
	{ "smp", do_smp },	   { "spin", do_spin },
	{ "triple", do_triple },   { "udp", do_udp },
};

void _start(const struct hvm_start_info *start)
{
	const char *line = (const char *)start->cmdline_paddr, *rest;
	uint64_t numbers[MAX_NUMBERS];
	size_t length, i;

	start_info = start;
	for (length = 0; line[length] && line[length] != ' '; length++)
		;
	rest = line + length;
	for (i = 0; i < MAX_NUMBERS; i++) {
		while (*rest == ' ')
			rest++;
		if (!parse_number(&rest, UINT64_MAX, &numbers[i]))
			numbers[i] = 0;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strlen(commands[i].name) == length &&
		    !memcmp(commands[i].name, line, length))
			commands[i].run(numbers);
	print("no such command: %s\n", line);
	off(WRONG);
}
