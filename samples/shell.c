// SPDX-License-Identifier: MIT
/*
 * shell: a small interactive OS.  It keeps its files on a FAT16 disk.
 *
 * Commands on its command line, separated by ';', are run first; then it reads
 * them from the console.  A new command is a function and a line in the table.
 *
 * Each command mounts the disk anew, so that nothing outlives an error.
 */
#include "console.h"
#include "disk.h"
#include "error.h"
#include "fat16.h"
#include "hcall_call.h"
#include "start_info.h"
#include "string.h"
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

/* Mounts the first disk that has a FAT16 file system. */
static int mount(void)
{
	struct hcall_device disk;
	unsigned int i;
	int error;

	for (i = 0;; i++) {
		error = disk_get(i, &disk);
		if (error)
			return error == -HCALL_ENODEV ? -ERR_NO_FAT16 : error;
		error = fat16_mount(&fs, &disk);
		if (error != -ERR_NO_FAT16)
			return error;
	}
}

static int open_file(const char *path, struct fat16_file *file)
{
	int error;

	if (!*path)
		return -ERR_USAGE;
	error = mount();
	return error ? error : fat16_open(&fs, path, file);
}

/* ---- Commands ---------------------------------------------------------- */

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
		error = console_read_line(line, sizeof(line));
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
	const char *digit = next_word(&args);
	uint32_t code = 0;

	if (!digit)
		return (int)hcall_exit(HCALL_EXIT_OFF, start_command_failed);
	for (; *digit; digit++) {
		if (*digit < '0' || *digit > '9' || code > 255)
			return -ERR_USAGE;
		code = code * 10 + (uint32_t)(*digit - '0');
	}
	return (int)hcall_exit(HCALL_EXIT_OFF, code);
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
		print("%-7s%-13s%s\n", commands[i].name, commands[i].arguments,
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
		error = console_read_line(line, sizeof(line));
		if (!error)
			run_line(line);
		else if (error == -ERR_TOO_LONG)
			print("shell: %s\n", error_text(error));
		else if (error != -ERR_CANCELLED)
			return error;
	}
}

void _start(const struct hvm_start_info *start)
{
	int error;

	trap_init();
	start_info = start;
	if (start->magic == HVM_START_MAGIC) {
		run_start_commands((char *)start->cmdline_paddr);
		error = run_typed_commands();
		if (error == -ERR_INPUT_ENDED) {
			print("off\n");
			hcall_exit(HCALL_EXIT_OFF, start_command_failed);
		}
		print("shell: %s\n", error_text(error));
	} else {
		print("shell: not started as a 64-bit kernel of hvrun\n");
	}
	hcall_exit(HCALL_EXIT_PANIC, 1);

	for (;;) /* only where nobody answers calls */
		__asm__ __volatile__("hlt");
}
