// SPDX-License-Identifier: MIT
/*
 * shell: a small interactive OS.  It keeps its files on a FAT16 disk, and gets
 * them from the network.
 *
 * Commands on its command line, separated by ';', are run first; then it reads
 * them from the console.  A new command is a function and a line in the table.
 *
 * Each command mounts the disk anew, so that nothing outlives an error.
 */
#include "apic.h"
#include "clock.h"
#include "console.h"
#include "dhcp.h"
#include "disk.h"
#include "error.h"
#include "event.h"
#include "fat16.h"
#include "hcall_call.h"
#include "keys.h"
#include "line.h"
#include "net.h"
#include "ping.h"
#include "smp.h"
#include "start_info.h"
#include "string.h"
#include "tftp.h"
#include "trap.h"

#define LINE_BYTES 1024
#define TEXT_BYTES 65536u /* the most that write takes */
#define READ_BYTES (1u << 20)

struct command {
	const char *name;
	const char *arguments;
	const char *help;
	int (*run)(char *args); /* returns 0 or a negated error */
};

static const struct hvm_start_info *start_info;
static struct fat16 fs;
static uint8_t buffer[READ_BYTES];
static bool start_command_failed; /* one of those on our command line */
static bool has_uptime;

/* Cuts the next word off *@args; NULL: there is none. */
static char *next_word(char **args)
{
	char *word = *args, *end;

	while (*word == ' ')
		word++;
	for (end = word; *end && *end != ' '; end++)
		;
	if (*end)
		*end++ = '\0';
	*args = end;
	return *word ? word : NULL;
}

/* All of @args but the spaces around it, for names with spaces. */
static char *all_words(char *args)
{
	size_t length;

	while (*args == ' ')
		args++;
	for (length = strlen(args); length && args[length - 1] == ' '; length--)
		;
	args[length] = '\0';
	return args;
}

/* The next word as a number up to @max; @number stays if there is no word. */
static bool next_number(char **args, uint32_t max, uint32_t *number)
{
	const char *word = next_word(args);
	uint64_t n = *number;

	if (word && (!parse_number(&word, max, &n) || *word))
		return false;
	*number = (uint32_t)n;
	return true;
}

/* The next word as an address. */
static bool next_address(char **args, uint32_t *address)
{
	const char *word = next_word(args);

	return word && net_parse(&word, address) && !*word;
}

/* Mounts the first disk that has a FAT16 file system. */
static int mount(void)
{
	struct clock_date now = clock_utc();
	struct hcall_device disk;
	unsigned int i;
	int error;

	for (i = 0;; i++) {
		error = disk_get(i, &disk);
		if (error)
			return error == -HCALL_ENODEV ? -ERR_NO_FAT16 : error;
		error = fat16_mount(&fs, &disk);
		if (error != -ERR_NO_FAT16)
			break;
	}
	fs.date = FAT16_DATE(now.year, now.month, now.day);
	fs.time = FAT16_TIME(now.hour, now.minute, now.second);
	return error;
}

static int open_file(const char *path, struct fat16_file *file)
{
	int error;

	if (!*path)
		return -ERR_USAGE;
	error = mount();
	return error ? error : fat16_open(&fs, path, file);
}

/* ---- Commands: files ---------------------------------------------------- */

static int cmd_ls(char *args)
{
	const char *path = all_words(args);
	struct fat16_entry entry;
	uint32_t index = 0;
	int error;

	error = mount();
	if (!error)
		error = fat16_open_directory(&fs, path);
	if (error)
		return error;

	while (fat16_next(&fs, &index, &entry)) {
		if (entry.attributes & FAT16_ATTR_DIRECTORY)
			print("%10s  %s\n", "<dir>", entry.name);
		else
			print("%10u  %s\n", entry.bytes, entry.name);
	}
	print("%10lu  bytes free\n", fat16_free_bytes(&fs));
	return 0;
}

static int cmd_cat(char *args)
{
	struct fat16_file file;
	int64_t n = open_file(all_words(args), &file);

	if (n)
		return (int)n;
	while ((n = fat16_read(&fs, &file, buffer, sizeof(buffer))) > 0)
		console_write(buffer, (size_t)n);
	return (int)n;
}

/* Adds @line and a newline to the text in the buffer. */
static int add_line(uint32_t *bytes, const char *line)
{
	size_t length = strlen(line);

	if (length + 1 > TEXT_BYTES - *bytes)
		return -ERR_TOO_LONG;
	memcpy(buffer + *bytes, line, length);
	buffer[*bytes + length] = '\n';
	*bytes += (uint32_t)length + 1;
	return 0;
}

/* Reads all lines even if one is refused: they are not commands. */
static int read_text(uint32_t *bytes)
{
	char line[LINE_BYTES];
	int error, first_error = 0;

	print("Type the text, and a '.' on a line of its own to end it.\n");
	for (;;) {
		print("> ");
		error = line_read(line, sizeof(line));
		if (error == -ERR_INPUT_ENDED || (!error && !strcmp(line, ".")))
			return first_error;
		if (error && error != -ERR_TOO_LONG)
			return error;
		if (!error)
			error = add_line(bytes, line);
		if (!first_error)
			first_error = error;
	}
}

static int cmd_write(char *args)
{
	const char *path = next_word(&args);
	uint32_t bytes = 0;
	int error;

	if (!path)
		return -ERR_USAGE;
	error = *args ? add_line(&bytes, args) : read_text(&bytes);
	if (!error)
		error = mount();
	if (!error)
		error = fat16_write(&fs, path, buffer, bytes);
	if (!error)
		print("%u bytes written to %s\n", bytes, path);
	return error;
}

/* The CRC of cksum(1): polynomial 0x04c11db7, highest bit first. */
static uint32_t cksum(uint32_t crc, const uint8_t *data, size_t bytes)
{
	static uint32_t table[256];
	uint32_t i, bit;

	if (!table[1]) {
		for (i = 0; i < 256; i++) {
			table[i] = i << 24;
			for (bit = 0; bit < 8; bit++)
				table[i] = table[i] << 1 ^
					   (table[i] >> 31) * 0x04c11db7u;
		}
	}
	while (bytes--)
		crc = crc << 8 ^ table[crc >> 24 ^ *data++];
	return crc;
}

static int cmd_sum(char *args)
{
	const char *path = all_words(args);
	struct fat16_file file;
	uint32_t crc = 0, bytes, left;
	int64_t n = open_file(path, &file);

	if (n)
		return (int)n;
	bytes = file.left_bytes;
	while ((n = fat16_read(&fs, &file, buffer, sizeof(buffer))) > 0)
		crc = cksum(crc, buffer, (size_t)n);
	if (n)
		return (int)n;

	/* The length goes in too, lowest byte first. */
	for (left = bytes; left; left >>= 8) {
		uint8_t byte = (uint8_t)left;

		crc = cksum(crc, &byte, 1);
	}
	print("%u %u %s\n", ~crc, bytes, path);
	return 0;
}

static int cmd_echo(char *args)
{
	print("%s\n", args);
	return 0;
}

/* ---- Commands: the machine --------------------------------------------- */

static int cmd_disks(char *args)
{
	struct hcall_device disk;
	unsigned int i;
	int error;

	(void)args;
	print("unit  %-12s%14s  %s\n", "name", "bytes", "block  flags");
	for (i = 0; !(error = disk_get(i, &disk)); i++)
		print("%4u  %-12s%14lu  %5u  %s\n", disk.unit, disk.name,
		      disk.u.block.sectors * HCALL_SECTOR_BYTES,
		      disk.u.block.block_bytes,
		      disk.flags & HCALL_DEVICE_READONLY ? "ro" : "rw");
	return error == -HCALL_ENODEV ? 0 : error;
}

static int cmd_mem(char *args)
{
	static const char *const types[] = { "?",	 "RAM",
					     "reserved", "ACPI tables",
					     "ACPI NVS", "unusable" };
	const struct hvm_memmap_table_entry *map =
		(const void *)start_info->memmap_paddr;
	uint64_t ram_bytes = 0;
	uint32_t i;

	(void)args;
	for (i = 0; i < start_info->memmap_entries; i++) {
		uint32_t type = map[i].type;

		print("%016lx  %016lx  %s\n", map[i].addr,
		      map[i].addr + map[i].size - 1,
		      types[type < sizeof(types) / sizeof(types[0]) ? type
								    : 0]);
		if (type == 1)
			ram_bytes += map[i].size;
	}
	print("%lu KiB of RAM\n", ram_bytes >> 10);
	return 0;
}

static void report(uint32_t id)
{
	print("APIC ID %3u: started, and says so itself\n", id);
}

static int cmd_cpus(char *args)
{
	static uint8_t ids[SMP_MAX_CPUS];
	unsigned int cpus = smp_list(start_info, ids), i;
	uint32_t ours = apic_id();
	int error = 0;

	(void)args;
	if (!cpus)
		return -ERR_NO_CPUS;
	for (i = 0; i < cpus; i++) {
		if (ids[i] == ours) {
			print("APIC ID %3u: the one that asks\n", ours);
		} else if (!smp_run(ids[i], report)) {
			print("APIC ID %3u: does not start\n", ids[i]);
			error = -ERR_CPU_DEAD;
		}
	}
	print("%u CPUs\n", cpus);
	return error;
}

static int cmd_date(char *args)
{
	struct clock_date now = clock_utc();

	(void)args;
	print("%04u-%02u-%02u %02u:%02u:%02u UTC\n", now.year, now.month,
	      now.day, now.hour, now.minute, now.second);
	return 0;
}

static int cmd_uptime(char *args)
{
	uint64_t ms, s;

	(void)args;
	if (!has_uptime)
		return -ERR_NO_CLOCK;
	ms = clock_now() / CLOCK_MS;
	s = ms / 1000;
	print("up %lu days %02lu:%02lu:%02lu.%03lu\n", s / 86400, s / 3600 % 24,
	      s / 60 % 60, s % 60, ms % 1000);
	return 0;
}

static int cmd_sleep(char *args)
{
	uint64_t start = clock_now();
	uint32_t seconds = UINT32_MAX; /* none told */

	if (!next_number(&args, 1000000000, &seconds) || seconds == UINT32_MAX)
		return -ERR_USAGE;
	return event_sleep(start + seconds * CLOCK_SECOND);
}

static int cmd_keys(char *args)
{
	(void)args;
	return keys_show();
}

static int cmd_crash(char *args)
{
	(void)args;
	__asm__ __volatile__("ud2"); /* no instruction: exception 6 */
	return 0;
}

static int cmd_reboot(char *args)
{
	(void)args;
	return (int)hcall_exit(HCALL_EXIT_REBOOT, 0);
}

static int cmd_off(char *args)
{
	uint32_t code = start_command_failed;

	if (!next_number(&args, 255, &code))
		return -ERR_USAGE;
	return (int)hcall_exit(HCALL_EXIT_OFF, code);
}

/* ---- Commands: the network ---------------------------------------------- */

static void show_addresses(void)
{
	char text[NET_ADDRESS_BYTES];
	unsigned int bits = 0;

	for (; bits < 32 && net.mask << bits; bits++)
		;
	print("address %s/%u\n", net_text(net.address, text), bits);
	print("gateway %s\n", net_text(net.router, text));
	print("dns     %s\n", net_text(net.dns, text));
}

static int show_network(void)
{
	const uint8_t *mac = net.device.u.net.mac;
	int error = net_check();

	if (error && error != -ERR_LINK_DOWN)
		return error;
	print("%s, %02x:%02x:%02x:%02x:%02x:%02x, mtu %u, %s\n",
	      net.device.name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5],
	      net.mtu, error ? "down" : "up");
	show_addresses();
	return 0;
}

/* ADDRESS/PREFIX, the bits of the network part. */
static bool parse_network(const char *word, uint32_t *address, uint32_t *mask)
{
	uint64_t bits;

	if (!net_parse(&word, address) || *word++ != '/' ||
	    !parse_number(&word, 32, &bits) || *word)
		return false;
	*mask = bits ? ~0u << (32 - bits) : 0;
	return true;
}

static int cmd_ip(char *args)
{
	const char *word = next_word(&args);
	uint32_t address, mask, router;

	if (word) {
		if (!parse_network(word, &address, &mask) ||
		    !next_address(&args, &router))
			return -ERR_USAGE;
		net.address = address;
		net.mask = mask;
		net.router = router;
	}
	return show_network();
}

static int cmd_dhcp(char *args)
{
	uint32_t server, lease_seconds;
	char text[NET_ADDRESS_BYTES];
	int error = dhcp_get(&server, &lease_seconds);

	(void)args;
	if (error)
		return error;
	show_addresses();
	net_text(server, text);
	if (lease_seconds == DHCP_FOREVER)
		print("lease   without end from %s\n", text);
	else
		print("lease   %u seconds from %s\n", lease_seconds, text);
	return 0;
}

static int cmd_ping(char *args)
{
	uint32_t count = 4, interval_ms = 1000, bytes = PING_BYTES;
	uint32_t address;

	if (!next_address(&args, &address) ||
	    !next_number(&args, UINT32_MAX, &count) ||
	    !next_number(&args, UINT32_MAX, &interval_ms) ||
	    !next_number(&args, UINT16_MAX, &bytes))
		return -ERR_USAGE;
	return ping(address, count, interval_ms, bytes);
}

/* The file that tftp gets: @buffered bytes of it are not on the disk yet. */
static struct {
	struct fat16_new_file file;
	uint32_t buffered;
} download;

static int flush_download(void)
{
	uint32_t bytes = download.buffered;

	download.buffered = 0;
	return fat16_append(&fs, &download.file, buffer, bytes);
}

static int put_download(const void *data, uint32_t bytes, uint64_t file_bytes)
{
	uint32_t room = sizeof(buffer) - download.buffered;
	uint32_t part = bytes < room ? bytes : room;
	int error;

	if (!download.file.bytes && !download.buffered &&
	    file_bytes > fat16_free_bytes(&fs))
		return -ERR_DISK_FULL;
	memcpy(buffer + download.buffered, data, part);
	download.buffered += part;
	if (part == bytes)
		return 0;

	/* The buffer is full. */
	error = flush_download();
	if (error)
		return error;
	print("%u of %lu KiB\n", download.file.bytes >> 10, file_bytes >> 10);
	download.buffered = bytes - part;
	memcpy(buffer, (const uint8_t *)data + part, download.buffered);
	return 0;
}

static int cmd_tftp(char *args)
{
	uint64_t start = clock_now(), ms;
	const char *file, *name, *c;
	uint32_t server;
	int error;

	if (!next_address(&args, &server))
		return -ERR_USAGE;
	file = next_word(&args);
	name = next_word(&args);
	if (!file)
		return -ERR_USAGE;
	if (!name) /* the same, without directories */
		for (name = c = file; *c; c++)
			if (*c == '/')
				name = c + 1;

	download.buffered = 0;
	error = mount();
	if (!error)
		error = fat16_create(&fs, name, &download.file);
	if (!error)
		error = tftp_get(server, file, put_download);
	if (!error)
		error = flush_download();
	if (!error)
		error = fat16_commit(&fs, &download.file);
	if (error)
		return error;
	ms = (clock_now() - start) / CLOCK_MS;
	print("%u bytes written to %s in %lu.%03lu s\n", download.file.bytes,
	      name, ms / 1000, ms % 1000);
	return 0;
}

static int cmd_help(char *args);

static const struct command commands[] = {
	{ "help", "", "this list", cmd_help },
	{ "ls", "[DIR]", "list a directory", cmd_ls },
	{ "cat", "FILE", "show a file", cmd_cat },
	{ "write", "FILE [TEXT]", "make a file of TEXT, or of lines to type",
	  cmd_write },
	{ "sum", "FILE", "checksum and size, as cksum(1) prints them",
	  cmd_sum },
	{ "echo", "[TEXT]", "show TEXT", cmd_echo },
	{ "disks", "", "list the disks", cmd_disks },
	{ "mem", "", "show the memory map", cmd_mem },
	{ "cpus", "", "start all other CPUs, and count", cmd_cpus },
	{ "date", "", "show the date and time", cmd_date },
	{ "uptime", "", "show for how long the VM has been there", cmd_uptime },
	{ "sleep", "SECONDS", "do nothing for a while", cmd_sleep },
	{ "keys", "", "show the keys of the first input device", cmd_keys },
	{ "ip", "[ADDR/PREFIX GATEWAY]", "show or set our address", cmd_ip },
	{ "dhcp", "", "get our address from a server", cmd_dhcp },
	{ "ping", "ADDR [COUNT [MS [BYTES]]]",
	  "ask for an answer, COUNT times, every MS milliseconds", cmd_ping },
	{ "tftp", "ADDR FILE [NAME]", "get a file from a server to the disk",
	  cmd_tftp },
	{ "crash", "", "make the CPU raise an exception", cmd_crash },
	{ "reboot", "", "start again", cmd_reboot },
	{ "off", "[CODE]", "end, with CODE as exit status", cmd_off },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int cmd_help(char *args)
{
	unsigned int i;

	(void)args;
	for (i = 0; i < COMMANDS; i++)
		print("%-7s%-26s%s\n", commands[i].name, commands[i].arguments,
		      commands[i].help);
	return 0;
}

/* ---- Running commands -------------------------------------------------- */

static int run_command(const char *name, char *args)
{
	const struct command *command;
	int error;

	for (command = commands; command < commands + COMMANDS; command++)
		if (!strcmp(command->name, name))
			break;
	if (command == commands + COMMANDS) {
		print("%s: no such command, try help\n", name);
		return -ERR_NOT_FOUND;
	}

	error = command->run(args);
	if (!error)
		error = console_error();
	if (error == -ERR_USAGE)
		print("usage: %s %s\n", name, command->arguments);
	else if (error)
		print("%s: %s\n", name, error_text(error));
	return error;
}

static int run_line(char *line)
{
	const char *name = next_word(&line);

	return name ? run_command(name, line) : 0;
}

static void run_start_commands(char *line)
{
	while (line) {
		char *end = strchr(line, ';');

		if (end)
			*end++ = '\0';
		if (run_line(line))
			start_command_failed = true;
		line = end;
	}
}

static int run_typed_commands(void)
{
	char line[LINE_BYTES];
	int error;

	for (;;) {
		print("hcall> ");
		error = line_read(line, sizeof(line));
		if (!error)
			run_line(line);
		else if (error == -ERR_TOO_LONG)
			print("shell: %s\n", error_text(error));
		else if (error != -ERR_CANCELLED)
			return error;
	}
}

static void panic(const char *why)
{
	print("shell: %s\n", why);
	hcall_exit(HCALL_EXIT_PANIC, 1);

	for (;;) /* only where nobody answers calls */
		__asm__ __volatile__("hlt");
}

void _start(const struct hvm_start_info *start)
{
	int error;

	trap_init();
	if (start->magic != HVM_START_MAGIC)
		panic("not started as a 64-bit kernel of hvrun");
	start_info = start;
	has_uptime = clock_start();
	net_start();
	error = event_start();
	if (error)
		panic(error_text(error));

	run_start_commands((char *)start->cmdline_paddr);
	error = run_typed_commands();
	if (error == -ERR_INPUT_ENDED) {
		print("off\n");
		hcall_exit(HCALL_EXIT_OFF, start_command_failed);
	}
	panic(error_text(error));
}
