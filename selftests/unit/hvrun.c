// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher's parsing: numbers and names of the command line, and kernel files,
 * of which any byte may be anything.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hvrun.h"
#include "unit.h"

/* What a mistake leaves behind goes with the process. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* ---- Instead of error.c: a message ends no test --------------------------------- */

bool verbose;
static jmp_buf died;
static char message[1024];

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
}

void note(const char *format, ...)
{
}

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	longjmp(died, 1);
}

static bool same(const char *got, const char *want)
{
	if (got && want ? !strncmp(got, want, strlen(want)) : got == want)
		return true;
	printf("# '%s', not '%s'\n", got ?: "(none)", want ?: "(none)");
	return false;
}

/* ---- Numbers ------------------------------------------------------------------------ */

static void test_number(void)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t number;
	} cases[] = {
		{ "0", true, 0 },
		{ "1", true, 1 },
		{ "007", true, 7 },
		{ "4294967295", true, UINT32_MAX },
		{ "4294967296", true, 1ull << 32 },
		{ "9223372036854775808", true, 1ull << 63 },
		{ "18446744073709551614", true, UINT64_MAX - 1 },
		{ "18446744073709551615", true, UINT64_MAX },
		{ "18446744073709551616", true, UINT64_MAX },
		{ "99999999999999999999999999999999", true, UINT64_MAX },
		{ "", false, 0 },
		{ " 1", false, 0 },
		{ "+1", false, 0 },
		{ "-1", false, 0 },
		{ "1 ", false, 0 },
		{ "1x", false, 0 },
		{ "0x10", false, 0 },
		{ "1.0", false, 0 },
		{ "1e3", false, 0 },
		{ "\xd9\xa1", false, 0 }, /* an Arabic one */
	};
	uint64_t number;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (spec_number(cases[i].text, &number) != cases[i].ok ||
		    (cases[i].ok && number != cases[i].number))
			CHECK(same(cases[i].text, NULL));
	}
	for (int i = 0; i < 100000; i++) {
		uint64_t want = edgy();
		char text[32];

		sprintf(text, "%llu", (unsigned long long)want);
		CHECK(spec_number(text, &number) && number == want);
	}
}

#define NO_SIZE	   "is no size"
#define TOO_LITTLE "is too little"
#define MUCH	   (1ull << 52)

static void test_size(void)
{
	static const struct {
		const char *text, *mistake;
		uint64_t bytes;
	} cases[] = {
		{ "2M", NULL, 2 * MIB },
		{ "2m", NULL, 2 * MIB },
		{ "2048K", NULL, 2 * MIB },
		{ "2048k", NULL, 2 * MIB },
		{ "2097152", NULL, 2 * MIB },
		{ "1G", NULL, GIB },
		{ "1g", NULL, GIB },
		{ "4194304G", NULL, MUCH },
		{ "4194305G", NULL, MUCH },
		{ "17179869184G", NULL, MUCH }, /* 2^64 */
		{ "17179869185G", NULL, MUCH },
		{ "18446744073709551615", NULL, MUCH },
		{ "18446744073709551616", NULL, MUCH },
		{ "18446744073709551615K", NULL, MUCH },
		{ "2047K", TOO_LITTLE, 0 },
		{ "2097151", TOO_LITTLE, 0 },
		{ "256", "is too little; at least 2M is needed (and M", 0 },
		{ "1M", TOO_LITTLE, 0 },
		{ "0", TOO_LITTLE, 0 },
		{ "0G", TOO_LITTLE, 0 },
		{ "2097153", "is no multiple of 4K", 0 },
		{ "2101247", "is no multiple of 4K", 0 },
		{ "2049K", "is no multiple of 4K", 0 },
		{ "", NO_SIZE, 0 },
		{ "M", NO_SIZE, 0 },
		{ "-2M", NO_SIZE, 0 },
		{ " 2M", NO_SIZE, 0 },
		{ "+2M", NO_SIZE, 0 },
		{ "2MB", NO_SIZE, 0 },
		{ "2M ", NO_SIZE, 0 },
		{ "2MM", NO_SIZE, 0 },
		{ "2T", NO_SIZE, 0 },
		{ "2.5G", NO_SIZE, 0 },
		{ "0x200000", NO_SIZE, 0 },
	};
	uint64_t bytes;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *mistake = spec_size(cases[i].text, &bytes);

		CHECK(same(mistake, cases[i].mistake));
		if (!mistake)
			CHECK_EQ(bytes, cases[i].bytes);
	}
	for (int i = 0; i < 100000; i++) {
		static const char units[] = "KMGkmg";
		unsigned int unit = below(7);
		uint64_t number = edgy(),
			 shift = unit ? 10 + 10 * ((unit - 1) % 3) : 0;
		unsigned __int128 want = (unsigned __int128)number << shift;
		const char *mistake;
		char text[40];

		sprintf(text, "%llu%.*s", (unsigned long long)number,
			unit ? 1 : 0, unit ? &units[unit - 1] : "");
		mistake = spec_size(text, &bytes);
		if (want > MUCH)
			want = MUCH;
		if (want < 2 * MIB)
			CHECK(same(mistake, TOO_LITTLE));
		else if (want % 4096)
			CHECK(same(mistake, "is no multiple"));
		else
			CHECK(!mistake && bytes == (uint64_t)want);
	}
}

/* ---- NAME=WHAT ------------------------------------------------------------------------- */

static const char *net(const char *spec, struct net **net)
{
	struct nets nets = {};
	const char *mistake = net_parse(spec, &nets);

	*net = nets.first;
	CHECK(!mistake == !!nets.first);
	return mistake;
}

static void test_mac(void)
{
	static const struct {
		const char *text, *mistake;
	} cases[] = {
		{ "02:00:00:00:00:01", NULL },
		{ "fe:ff:FF:ff:ff:ff", NULL },
		{ "00:00:00:00:00:01", NULL },
		{ "00:00:00:00:00:00", "mac= is all zeros" },
		{ "01:00:00:00:00:01", "mac= has a multicast" },
		{ "ff:ff:ff:ff:ff:ff", "mac= has a multicast" },
		{ "02:00:00:00:00:1", "mac= is no" },
		{ "02:00:00:00:00:011", "mac= is no" },
		{ "2:00:00:00:000:01", "mac= is no" },
		{ "02:00:00:00:00", "mac= is no" },
		{ "02-00-00-00-00-01", "mac= is no" },
		{ "02:00:00:00:00:0g", "mac= is no" },
		{ "0x:00:00:00:00:01", "mac= is no" },
		{ "+2:00:00:00:00:01", "mac= is no" },
		{ " 2:00:00:00:00:01", "mac= is no" },
		{ "02::0:00:00:00:01", "mac= is no" },
		{ "02:00:00:00:0001:", "mac= is no" },
		{ ":::::::::::::::::", "mac= is no" },
		{ "", "mac= is no" },
	};
	struct net *one;
	char spec[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sprintf(spec, "n=tap:t,mac=%s", cases[i].text);
		CHECK(same(net(spec, &one), cases[i].mistake));
	}
	for (int i = 0; i < 20000; i++) {
		uint8_t mac[6];

		for (int k = 0; k < 6; k++)
			mac[k] = below(3) ? below(256) : 0;
		sprintf(spec, "n=user,mac=%02x:%02X:%02x:%02X:%02x:%02x",
			mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
		if (mac[0] & 1 || !memcmp(mac, "\0\0\0\0\0", 6)) {
			CHECK(net(spec, &one));
			continue;
		}
		CHECK(!net(spec, &one));
		CHECK(one->has_mac && !memcmp(one->mac, mac, 6));
	}
}

static void test_net(void)
{
	struct net *one;
	char spec[80];

	for (uint64_t n = 0; n < 40; n++) {
		sprintf(spec, "n=tap:t,queues=%d", (int)n);
		CHECK_EQ(!net(spec, &one), n >= 1 && n <= NET_QUEUES_MAX);
		sprintf(spec, "n=fd:%d", (int)n);
		CHECK_EQ(!net(spec, &one), n >= 3);
		CHECK(n < 3 || one->fd == (int)n);
	}
	CHECK(!net("n=fd:1000000", &one));
	CHECK(net("n=fd:1000001", &one));
	CHECK(net("n=fd:4294967299", &one)); /* 2^32 + 3 */
	CHECK(net("n=fd:18446744073709551619", &one)); /* 2^64 + 3 */
	CHECK(net("n=fd:3x", &one));
	CHECK(net("n=fd:-3", &one));
	CHECK(net("n=tap:t,queues=4294967297", &one));
	CHECK(net("n=tap:t,queues=18446744073709551617", &one));
	CHECK(net("n=tap:t,queues=1x", &one));
	CHECK(net("n=tap:t,queues=", &one));
	CHECK(net("n=tap:t,queues=1,queues=1", &one));
	CHECK(net("n=user,queues=1", &one));
	CHECK(!net("n=tap:a23456789012345", &one));
	CHECK(net("n=tap:a234567890123456", &one));
	CHECK(!net("n=tap:t,mac=02:00:00:00:00:01,queues=3", &one));
	CHECK_EQ(one->queues, 3);
	CHECK(!net("n=tap:t,queues=3,mac=02:00:00:00:00:01", &one));
	CHECK(same(one->interface, "t"));
}

static void test_name(void)
{
	char name[HCALL_NAME_BYTES], *what, spec[64];

	for (size_t n = 0; n < 50; n++) {
		memset(spec, 'n', n);
		strcpy(spec + n, "=x");
		memset(name, 0, sizeof(name));
		CHECK_EQ(!spec_name(spec, "form", name, &what),
			 n >= 1 && n < HCALL_NAME_BYTES);
		if (n >= 1 && n < HCALL_NAME_BYTES)
			CHECK(strlen(name) == n && same(what, "x"));
	}
	for (int c = 1; c < 256; c++) {
		sprintf(spec, "%c=x", c);
		memset(name, 0, sizeof(name));
		CHECK_EQ(!spec_name(spec, "form", name, &what),
			 c > ' ' && c < 0x7f && c != '=');
	}
	CHECK(spec_name("n=", "form", name, &what));
	CHECK(spec_name("n", "form", name, &what));
	CHECK(spec_name("", "form", name, &what));
	CHECK(spec_name("=", "form", name, &what));
	memset(name, 0, sizeof(name));
	CHECK(!spec_name("n==,=", "form", name, &what));
	CHECK(same(what, "=,="));
}

/* Any text: an answer, and no byte outside of it. */
static void one_option(void)
{
	static const char *const bits[] = {
		"n=",	   "tap:", "fd:",     "user",	     "stdio",
		"evdev:",  ",ro",  ",direct", ",mac=",	     "02:00:00:",
		",grab",   "=",	   ",",	      ":",	     "7",
		"queues=", "K",	   "G",	      "99999999999",
	};
	char text[200] = "";
	struct nets nets = {};
	struct disk *disks = NULL;
	struct input *inputs = NULL;
	uint64_t number;
	char *exact;

	for (uint64_t n = below(12); n; n--) {
		char byte[2] = { below(256) };

		strcat(text,
		       below(4) ? bits[below(sizeof(bits) / sizeof(bits[0]))]
				: byte);
	}
	exact = strdup(text); /* with an end that the sanitizer sees */
	disk_parse(exact, &disks);
	disk_parse(exact, &disks);
	net_parse(exact, &nets);
	input_parse(exact, &inputs);
	spec_size(exact, &number);
	spec_number(exact, &number);
	free(exact);
}

static void test_options(void)
{
	for (int i = 0; i < 50000; i++)
		one_option();
}

/* ---- Guest memory -------------------------------------------------------------------------- */

static bool model_ram(const struct ram *ram, uint64_t gpa, uint64_t bytes)
{
	unsigned __int128 end = (unsigned __int128)gpa + bytes;

	if (end <= ram->low_bytes)
		return true;
	return gpa >= RAM_HIGH_START &&
	       end <= RAM_HIGH_START + (ram->bytes - ram->low_bytes);
}

static void test_ram(void)
{
	static const uint64_t sizes[] = { 2 * MIB, 3 * GIB - 4096,
					  3 * GIB, 3 * GIB + 4096,
					  5 * GIB, MUCH };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ram ram = {
			.host = (uint8_t *)(1ull << 56),
			.bytes = sizes[i],
			.low_bytes = sizes[i] < 3 * GIB ? sizes[i] : 3 * GIB,
		};
		const uint64_t near[] = { 0, ram.low_bytes, RAM_HIGH_START,
					  ram_end(&ram), UINT64_MAX };

		CHECK_EQ(ram_end(&ram),
			 sizes[i] <= 3 * GIB ? sizes[i] : sizes[i] + GIB);
		for (int k = 0; k < 20000; k++) {
			uint64_t gpa = near[below(5)] + below(5) - 2;
			uint64_t bytes =
				below(2) ? edgy()
					 : near[below(5)] - gpa + below(3);
			uint8_t *at = ram_at(&ram, gpa, bytes);

			CHECK_EQ(!!at, model_ram(&ram, gpa, bytes));
			if (at)
				CHECK_EQ(at - ram.host,
					 gpa < RAM_HIGH_START ||
							 gpa <= ram.low_bytes
						 ? gpa
						 : gpa - RAM_HIGH_START +
							   ram.low_bytes);
		}
	}
}

/* ---- Kernel files --------------------------------------------------------------------------------- */

#define CODE_AT	     0x1000
#define FILE_BYTES   0x2000
#define LOADED_AT    0x100000u
#define GUEST	     (4 * MIB)
#define INITRD_BYTES 12345

enum kind {
	MULTIBOOT,
	PVH,
	ELF64,
	LINUX,
	KINDS
};

static uint8_t file[FILE_BYTES];
static int file_fd = -1, initrd_fd;
static char initrd_path[32], initrd[INITRD_BYTES];

static void put32(uint32_t at, uint32_t value)
{
	memcpy(file + at, &value, sizeof(value));
}

static void make_elf(bool pvh)
{
	Elf64_Ehdr *elf = (void *)file;
	Elf64_Phdr *load = (void *)(file + sizeof(*elf)), *note = load + 1;

	memcpy(elf->e_ident, ELFMAG, SELFMAG);
	elf->e_ident[EI_CLASS] = ELFCLASS64;
	elf->e_ident[EI_DATA] = ELFDATA2LSB;
	elf->e_type = ET_EXEC;
	elf->e_machine = EM_X86_64;
	elf->e_phoff = sizeof(*elf);
	elf->e_phnum = 1 + pvh;
	elf->e_phentsize = sizeof(*load);
	elf->e_entry = LOADED_AT + 16;
	*load = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = CODE_AT,
		.p_vaddr = LOADED_AT,
		.p_paddr = LOADED_AT,
		.p_filesz = FILE_BYTES - CODE_AT,
		.p_memsz = FILE_BYTES,
	};
	if (!pvh)
		return;
	*note = (Elf64_Phdr){ .p_type = PT_NOTE,
			      .p_offset = 0x200,
			      .p_filesz = 20,
			      .p_align = 4 };
	put32(0x200, 4);
	put32(0x204, 4);
	put32(0x208, 18);
	memcpy(file + 0x20c, "Xen", 4);
	put32(0x210, LOADED_AT + 16);
}

static void make_multiboot(void)
{
	put32(0x100, 0x1badb002);
	put32(0x104, 0x10003);
	put32(0x108, -(0x1badb002 + 0x10003));
	put32(0x10c, LOADED_AT + 0x100); /* header */
	put32(0x110, LOADED_AT);
	put32(0x114, LOADED_AT + FILE_BYTES); /* end of what is loaded */
	put32(0x118, LOADED_AT + 2 * FILE_BYTES); /* end of the bss */
	put32(0x11c, LOADED_AT + 16);
}

static void make_linux(void)
{
	struct setup_header *h = (void *)(file + 0x1f1);

	h->setup_sects = 1;
	h->boot_flag = 0xaa55;
	h->jump = 0x66eb;
	h->header = 0x53726448;
	h->version = 0x20f;
	h->xloadflags = XLF_KERNEL_64;
	h->kernel_alignment = 4096;
	h->relocatable_kernel = 1;
	h->pref_address = LOADED_AT;
	h->init_size = FILE_BYTES;
	h->syssize = (FILE_BYTES - 1024) / 16;
	h->cmdline_size = 255;
	h->initrd_addr_max = 0x7fffffff;
}

static void make(enum kind kind)
{
	memset(file, 0, sizeof(file));
	for (uint32_t i = CODE_AT; i < FILE_BYTES; i++)
		file[i] = i * 7;
	if (kind == MULTIBOOT)
		make_multiboot();
	else if (kind == LINUX)
		make_linux();
	else
		make_elf(kind == PVH);
}

/* Memory with an exact end; what the last one has left in it stays. */
static struct ram ram_begin(void)
{
	static uint8_t *memory;

	if (!memory)
		memory = malloc(GUEST);
	NEED(memory);
	return (struct ram){
		.host = memory,
		.bytes = GUEST,
		.low_bytes = GUEST,
		.boot_start = RAM_LOW_END,
	};
}

/* Return: false: it was refused, and @message says why. */
static bool load(struct ram *ram, struct boot *boot, uint32_t bytes,
		 bool with_initrd)
{
	static bool (*const protocols[])(const struct image *image,
					 struct boot *boot) = {
		multiboot_load, pvh_load, elf64_load, linux_load
	};
	static char *args[] = { "a", "bc", NULL };
	static struct image image;
	bool loaded = false;

	if (file_fd < 0) {
		initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
		sprintf(initrd_path, "/proc/self/fd/%d", initrd_fd);
		memset(initrd, 0x5a, sizeof(initrd));
		NEED(write(initrd_fd, initrd, sizeof(initrd)) ==
		     sizeof(initrd));
		file_fd = memfd_create("kernel", MFD_CLOEXEC);
	}
	NEED(file_fd >= 0 && !ftruncate(file_fd, bytes) &&
	     pwrite(file_fd, file, bytes, 0) == (ssize_t)bytes);
	image = (struct image){ "kernel", "test", file_fd, bytes, 0, {} };
	image.head_bytes =
		bytes < sizeof(image.head) ? bytes : sizeof(image.head);
	memcpy(image.head, file, image.head_bytes);
	*boot = (struct boot){ .ram = ram,
			       .args = args,
			       .initrd = with_initrd ? initrd_path : NULL };
	message[0] = '\0';
	if (setjmp(died)) {
		CHECK(message[0]);
		close_range(file_fd + 1, ~0u, 0); /* an initrd's */
		return false;
	}
	for (int i = 0; i < KINDS && !loaded; i++)
		loaded = protocols[i](&image, boot);
	return loaded;
}

static void test_kernel(void)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		struct boot boot;
		struct ram ram;

		make(kind);
		ram = ram_begin();
		if (!load(&ram, &boot, FILE_BYTES, false))
			CHECK(same(message, ""));
		if (kind == LINUX) {
			CHECK_EQ(boot.rip, LOADED_AT + 0x200);
			CHECK(!memcmp(ram.host + LOADED_AT, file + 1024,
				      FILE_BYTES - 1024));
			CHECK(boot.long_mode && boot.rsi);
		} else {
			CHECK_EQ(boot.rip, LOADED_AT + 16);
			CHECK(!memcmp(ram.host + LOADED_AT,
				      file + (kind == MULTIBOOT ? 0 : CODE_AT),
				      FILE_BYTES - CODE_AT));
		}
	}
}

/* A segment that ends where the memory does, and one byte further. */
static void test_kernel_edges(void)
{
	Elf64_Phdr *p = (void *)(file + sizeof(Elf64_Ehdr));
	static const uint64_t deltas[] = { 1, 4096, 1ull << 32, 1ull << 63,
					   UINT64_MAX - GUEST };
	struct boot boot;
	struct ram ram;

	ram = ram_begin();
	make(ELF64);
	p->p_memsz = GUEST - LOADED_AT;
	CHECK(load(&ram, &boot, FILE_BYTES, false));
	for (size_t i = 0; i < 5; i++) {
		make(ELF64);
		p->p_memsz = GUEST - LOADED_AT + deltas[i];
		CHECK(!load(&ram, &boot, FILE_BYTES, false));
		make(ELF64);
		p->p_filesz += deltas[i];
		CHECK(!load(&ram, &boot, FILE_BYTES, false));
		make(ELF64);
		p->p_offset += deltas[i];
		CHECK(!load(&ram, &boot, FILE_BYTES, false));
		make(ELF64);
		p->p_paddr += deltas[i] + GUEST - LOADED_AT - p->p_memsz;
		CHECK(!load(&ram, &boot, FILE_BYTES, false));
		make(ELF64);
		((Elf64_Ehdr *)file)->e_phoff += FILE_BYTES + deltas[i];
		CHECK(!load(&ram, &boot, FILE_BYTES, false));
	}
	/* One byte less of the file. */
	make(ELF64);
	CHECK(!load(&ram, &boot, FILE_BYTES - 1, false));
}

/* All of it is there, and not in the kernel's way. */
static void check_initrd(const struct ram *ram, const struct boot *boot)
{
	const struct boot_params *params = (void *)(ram->host + boot->rsi);
	uint64_t gpa = params->hdr.ramdisk_image |
		       (uint64_t)params->ext_ramdisk_image << 32;

	CHECK_EQ(params->hdr.ramdisk_size, INITRD_BYTES);
	CHECK(gpa >= boot->rip - 0x200 + params->hdr.init_size);
	CHECK(gpa + INITRD_BYTES <= ram->bytes);
	CHECK(!memcmp(ram->host + gpa, initrd, INITRD_BYTES));
}

/* Some fields are anything: it is refused, or loaded to where memory is. */
static void one_kernel(void)
{
	static const uint16_t headers[] = {
		0, 0x40, 0x78, 0x100, 0x1f1, 0x200
	};
	enum kind kind = below(KINDS);
	uint32_t bytes = FILE_BYTES;
	struct boot boot;
	struct ram ram;

	make(kind);
	for (uint64_t n = below(8); n; n--) {
		uint32_t at = headers[below(6)] + below(0x90),
			 width = 1 << below(4);
		uint64_t value = edgy();

		memcpy(file + at, &value, width);
	}
	if (!below(8))
		bytes = below(FILE_BYTES + 1);
	ram = ram_begin();
	if (load(&ram, &boot, bytes, below(2))) {
		CHECK(boot.rip < GUEST);
		CHECK(ram.boot_start <= RAM_LOW_END);
		if (boot.initrd_loaded)
			check_initrd(&ram, &boot);
	}
}

/* As high as it can be, and refused if the kernel is there. */
static void test_initrd(void)
{
	const uint64_t place = (GUEST - INITRD_BYTES) & ~4095ull;
	struct setup_header *h = (void *)(file + 0x1f1);

	for (int delta = -2; delta <= 2; delta++) {
		struct ram ram = ram_begin();
		struct boot boot;

		make(LINUX);
		h->init_size = place - LOADED_AT + delta;
		CHECK_EQ(load(&ram, &boot, FILE_BYTES, true), delta <= 0);
		if (delta > 0)
			CHECK(same(message, "initrd"));
		else
			check_initrd(&ram, &boot);
	}
}

static void test_kernels(void)
{
	for (int i = 0; i < 6000; i++)
		one_kernel();
}

const struct test tests[] = {
	{ "hvrun.number", test_number },
	{ "hvrun.size", test_size },
	{ "hvrun.mac", test_mac },
	{ "hvrun.net", test_net },
	{ "hvrun.name", test_name },
	{ "hvrun.options", test_options },
	{ "hvrun.ram", test_ram },
	{ "hvrun.kernel", test_kernel },
	{ "hvrun.kernel_edges", test_kernel_edges },
	{ "hvrun.initrd", test_initrd },
	{ "hvrun.kernels", test_kernels },
};

const unsigned int nr_tests = sizeof(tests) / sizeof(tests[0]);

void fuzz(void)
{
	if (below(3))
		one_kernel();
	else
		one_option();
}
