/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of hvrun share.  Three things live here: the machine (ram,
 * vm, vcpu), its backends (disk, console, hcall) and how a kernel is entered
 * (boot).  The main thread owns all of it; a vCPU's thread owns its struct vcpu
 * while it runs, and of struct vm it changes only the atomics.
 */
#ifndef HVRUN_H
#define HVRUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hcall.h"

#define HVRUN_VERSION "0.1"

/* Exit status of hvrun's own failures, mistakes on the command line included. */
#define HVRUN_FAILED  125

#define KIB	      1024ull
#define MIB	      (1024 * KIB)
#define GIB	      (1024 * MIB)

/* ---- error.c ------------------------------------------------------------ */

extern bool verbose;

/** say() - one message on stderr, with the program's name before it */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
/** note() - the same, only with -v */
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);
/** die() - say() and exit with HVRUN_FAILED; from the main thread only */
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format,
							 ...);

/* ---- ram.c: the guest's memory ------------------------------------------ */

#define RAM_LOW_END    0xa0000ull /* end of the first 640 KiB */
#define RAM_BIOS_START 0xe0000ull /* where a guest looks for the RSDP */
#define RAM_1M	       0x100000ull
#define RAM_HOLE_START (3 * GIB) /* APICs and the like, up to 4 GiB */
#define RAM_HIGH_START (4 * GIB)
#define RAM_MIN_BYTES  (2 * MIB)

/**
 * struct ram - guest-physical memory, one host mapping
 * @host:       where gpa 0 is
 * @bytes:      all of it
 * @low_bytes:  what of it is below RAM_HOLE_START; the rest is from
 *              RAM_HIGH_START up
 * @boot_start: from here to RAM_LOW_END is what hvrun has put there for the
 *              kernel; it grows down
 */
struct ram {
	uint8_t *host;
	uint64_t bytes;
	uint64_t low_bytes;
	uint64_t boot_start;
};

enum ram_type {
	RAM_USABLE = 1,
	RAM_RESERVED = 2
}; /* as in e820 */

struct ram_range {
	uint64_t start;
	uint64_t bytes;
	enum ram_type type;
};

#define RAM_MAX_RANGES 5

void ram_create(struct ram *ram, uint64_t bytes);
void ram_destroy(struct ram *ram);
/** ram_end() - the first gpa above all RAM */
uint64_t ram_end(const struct ram *ram);
/** ram_at() - host address of @bytes at @gpa; NULL if not all of it is RAM */
void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t bytes);
/** ram_boot_alloc() - gpa of @bytes zeroed low memory, reserved in the map */
uint64_t ram_boot_alloc(struct ram *ram, uint64_t bytes, uint64_t align);
/** ram_map() - the map for the guest; call it after the last ram_boot_alloc() */
unsigned int ram_map(const struct ram *ram, struct ram_range *map);

/* ---- kernel.c: from a file to an entry point ---------------------------- */

/** struct image - the kernel file; @head is its beginning */
struct image {
	const char *path;
	int fd;
	uint64_t bytes;
	uint32_t head_bytes;
	_Alignas(8) uint8_t head[8192];
};

/* Read all @bytes at @offset, which the caller need not have checked, or die. */
void image_read(const struct image *image, uint64_t offset, void *buffer,
		uint64_t bytes);
/*
 * Load @file_bytes at @offset to @gpa, @memory_bytes of zeroed memory in all,
 * or die; @what names the part in the message.
 */
void image_load(const struct image *image, struct ram *ram, const char *what,
		uint64_t offset, uint64_t file_bytes, uint64_t gpa,
		uint64_t memory_bytes);

/**
 * struct boot - what a boot protocol gets, and the state of the first vCPU
 * @ram:            where to load to
 * @args:           the guest's command line, NULL at its end
 * @rsdp:           gpa of the ACPI root pointer
 * @gigabyte_pages: the guest's CPU has them
 * @long_mode:      OUT: 64-bit mode with @cr3 and @gdt, or else flat 32-bit
 *                  protected mode without paging; the registers are OUT too
 */
struct boot {
	struct ram *ram;
	char **args;
	uint64_t rsdp;
	bool gigabyte_pages;

	bool long_mode;
	uint64_t rip, rsp, rax, rbx, rdi;
	uint64_t cr3, gdt;
};

void kernel_load(const char *path, struct boot *boot);
/** boot_cmdline() - the arguments, after @name if not NULL, in guest memory */
uint64_t boot_cmdline(struct boot *boot, const char *name);

/*
 * One function a protocol.  Each returns false if the file is not of its kind;
 * if it is, but cannot be loaded, it says why and dies.
 */
bool multiboot_load(const struct image *image, struct boot *boot);
bool pvh_load(const struct image *image, struct boot *boot);
bool elf64_load(const struct image *image, struct boot *boot);

/** pvh_start_info() - gpa of a new struct hvm_start_info */
uint64_t pvh_start_info(struct boot *boot);

/* ---- elf.c --------------------------------------------------------------- */

struct elf {
	const struct image *image;
	bool is_64;
	uint64_t entry;
	uint64_t phdr_offset;
	unsigned int phdrs;
};

/* A program header, of either class. */
struct elf_segment {
	uint32_t type;
	uint64_t offset;
	uint64_t vaddr;
	uint64_t paddr;
	uint64_t file_bytes;
	uint64_t memory_bytes;
	uint64_t align;
};

/** elf_open() - false if it is no ELF; dies if it is one that cannot be a kernel */
bool elf_open(const struct image *image, struct elf *elf);
void elf_segment(const struct elf *elf, unsigned int index,
		 struct elf_segment *segment);
/** elf_load() - every PT_LOAD segment to its physical address */
void elf_load(const struct elf *elf, struct ram *ram);
/** elf_contains() - is the physical address @gpa in a loaded segment? */
bool elf_contains(const struct elf *elf, uint64_t gpa);

/* ---- acpi.c -------------------------------------------------------------- */

/** acpi_create() - tables that name the CPUs; returns the gpa of the RSDP */
uint64_t acpi_create(struct ram *ram, unsigned int cpus);

/* ---- cpuid.c ------------------------------------------------------------- */

struct cpuid;
/** cpuid_create() - what the guest will see, from what KVM supports; free() it */
struct cpuid *cpuid_create(int kvm_fd, unsigned int cpus);
bool cpuid_has_gigabyte_pages(const struct cpuid *cpuid);
unsigned int cpuid_address_bits(const struct cpuid *cpuid);
/** cpuid_set() - give it to the vCPU with APIC ID @id */
void cpuid_set(struct cpuid *cpuid, int vcpu_fd, unsigned int id);

/* ---- vm.c, vcpu.c -------------------------------------------------------- */

struct kvm_run;
struct vm;

struct vcpu {
	struct vm *vm;
	int fd;
	unsigned int id;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	uint64_t exits; /* returns of KVM_RUN */
	uint64_t switches; /* context switches of the thread */
};

#define VM_RUNNING -1
#define VM_REBOOT  256 /* 0 to 255: hvrun's exit status */

/**
 * struct vm - one guest, from power-on to power-off
 * @outcome:   VM_RUNNING until vm_stop(); the first reason to stop counts
 * @unclaimed: accesses to ports and addresses where there is nothing
 * @ended_fd:  eventfd; readable from vm_stop() on
 */
struct vm {
	int kvm_fd;
	int fd;
	int ended_fd;
	struct ram ram;
	unsigned int cpus;
	size_t run_bytes;
	struct vcpu *vcpus;
	atomic_int outcome;
	atomic_ullong unclaimed;
};

/** vm_create() - memory, interrupt controllers and vCPUs; the kernel is loaded */
void vm_create(struct vm *vm, uint64_t ram_bytes, unsigned int cpus,
	       const char *kernel, char **args);
void vm_start(struct vm *vm);
/** vm_stop() - end the guest; from any thread, any number of times */
void vm_stop(struct vm *vm, int outcome);
/** vm_join() - wait until no vCPU runs, after vm_stop() */
void vm_join(struct vm *vm);
void vm_destroy(struct vm *vm);

void vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned int id,
		 struct cpuid *cpuid);
/** vcpu_enter_at() - put the first vCPU at the kernel's entry point */
void vcpu_enter_at(struct vcpu *vcpu, const struct boot *boot);
void vcpu_start(struct vcpu *vcpu);
/** vcpu_join() - make its thread leave the guest, and wait for it */
void vcpu_join(struct vcpu *vcpu);
void vcpu_destroy(struct vcpu *vcpu);

/* ---- disk.c, console.c, terminal.c: the backends ------------------------- */

struct disk {
	struct disk *next; /* in the order of the command line */
	char name[HCALL_NAME_BYTES];
	const char *path;
	bool read_only;
	bool direct;
	int fd;
};

/** disk_parse() - NAME=PATH[,ro][,direct]; NULL, or what is wrong with it */
const char *disk_parse(const char *spec, struct disk **list);
void disk_open(struct disk *disk);

struct console;

enum console_verdict {
	CONSOLE_GOES_ON,
	CONSOLE_LEAVE, /* the user asked for it */
	CONSOLE_BROKEN, /* nobody takes the output any more; has been said */
};

#define CONSOLE_MAX_FDS 3

struct pollfd;
/** console_valid() - is this something that console_open() knows? */
bool console_valid(const char *spec);
/** console_open() - NULL for "none" */
struct console *console_open(const char *spec);
/** console_fds() - what the module gets */
void console_fds(const struct console *con, int *fd_out, int *fd_in);
void console_window(const struct console *con, uint16_t *columns,
		    uint16_t *rows);
/** console_raw() - if the user types into it, take the terminal over */
void console_raw(const struct console *con);
/**
 * console_poll() - what to wait for
 * @ended: no vCPU runs any more: only what is on its way out counts
 *
 * Return: how many of @fds were filled in; 0 after @ended: all is out.
 */
int console_poll(struct console *con, struct pollfd *fds, bool ended);
/** console_relay() - move what can be moved without waiting */
enum console_verdict console_relay(struct console *con,
				   const struct pollfd *fds, int count);
/** console_close() - the last of the output is given a moment to be read */
void console_close(struct console *con);

/** terminal_raw() - keys as they are typed, until the process exits */
void terminal_raw(void);
void terminal_restore(void);

/* ---- hcall.c: the module ------------------------------------------------- */

/** hcall_open() - bind the module to @vm; returns the instance */
int hcall_open(const struct vm *vm);
void hcall_add_disk(int fd, const struct disk *disk);
void hcall_add_console(int fd, const struct console *con);
void hcall_seal(int fd);
void hcall_resize(int fd, const struct console *con);

/* ---- stats.c ------------------------------------------------------------- */

enum {
	STATS_SYS,
	STATS_CONSOLE,
	STATS_BLOCK,
	STATS_OTHER,
	STATS_CLASSES
};

struct stats {
	struct {
		uint64_t calls, errors, bytes, denied;
	} classes[STATS_CLASSES];
	uint64_t exits_user;
	uint64_t switches;
	uint64_t unclaimed;
	uint64_t boots;
	uint64_t rss_kib; /* of hvrun without the guest's memory; the most */
};

/** stats_add() - add those of a VM that has stopped but is still there */
void stats_add(struct stats *stats, const struct vm *vm, int hcall_fd);
void stats_print(const struct stats *stats, double wall_seconds);
void stats_print_json(const struct stats *stats, double wall_seconds,
		      int status);

/* ---- run.c --------------------------------------------------------------- */

int run_command(int argc, char **argv);

#endif
