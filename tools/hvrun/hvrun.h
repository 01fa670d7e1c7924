/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of hvrun share.  Three things live here: the machine (ram,
 * vm, vcpu, interrupts), its backends (disk, console, net, input, hcall) and how
 * a kernel is entered (boot).  The main thread owns all of it; a vCPU's thread
 * owns its struct vcpu while it runs, and of struct vm it changes only the
 * atomics.  Interrupts have a lock of their own, and passt a thread.
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
/* ... and after a guest has reset the machine, be it to reboot or in a panic. */
#define HVRUN_RESET   75

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

/** struct image - a file; @what it is, for messages; @head is its beginning */
struct image {
	const char *what;
	const char *path;
	int fd;
	uint64_t bytes;
	uint32_t head_bytes;
	_Alignas(8) uint8_t head[8192];
};

void image_open(struct image *image, const char *what, const char *path);
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
 * @initrd:         path of a file for the kernel, or NULL; who loads it sets
 *                  @initrd_loaded
 * @rsdp:           gpa of the ACPI root pointer
 * @gigabyte_pages: the guest's CPU has them
 * @long_mode:      OUT: 64-bit mode with @cr3 and @gdt, or else flat 32-bit
 *                  protected mode without paging; the registers are OUT too
 * @code_selector:  of CS; that of the data segments is the next
 */
struct boot {
	struct ram *ram;
	char **args;
	const char *initrd;
	uint64_t rsdp;
	bool gigabyte_pages;

	bool initrd_loaded;
	bool long_mode;
	uint16_t code_selector, gdt_bytes;
	uint64_t rip, rsp, rax, rbx, rsi, rdi;
	uint64_t cr3, gdt;
};

void kernel_load(const char *path, struct boot *boot);
/** boot_cmdline() - the arguments, after @name if not NULL, in guest memory */
uint64_t boot_cmdline(struct boot *boot, const char *name);
/** boot_long_mode() - enter the kernel in it; longmode.c */
void boot_long_mode(struct boot *boot, uint16_t code_selector);

/*
 * One function a protocol.  Each returns false if the file is not of its kind;
 * if it is, but cannot be loaded, it says why and dies.
 */
bool multiboot_load(const struct image *image, struct boot *boot);
bool pvh_load(const struct image *image, struct boot *boot);
bool elf64_load(const struct image *image, struct boot *boot);
bool linux_load(const struct image *image, struct boot *boot);

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

/* Ports: what a guest writes to two of them turns the machine off. */
#define ACPI_PORT_SLEEP_CONTROL 0x600
#define ACPI_PORT_SLEEP_STATUS	0x601
#define ACPI_PORT_RESET		0x602
#define ACPI_SLEEP_OFF		0x34 /* SLP_EN, SLP_TYP as in _S5 */
#define ACPI_RESET_VALUE	1

/** acpi_create() - tables of the machine; returns the gpa of the RSDP */
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
 * @interrupts: what answers the guest's ROUTE calls
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
	struct interrupts *interrupts;
};

/** vm_create() - memory, interrupt controllers and vCPUs; the kernel is loaded */
void vm_create(struct vm *vm, uint64_t ram_bytes, unsigned int cpus,
	       const char *kernel, const char *initrd, char **args);
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

/* ---- interrupt.c --------------------------------------------------------- */

struct interrupts;
struct interrupts *interrupts_create(const struct vm *vm, int hcall_fd);
void interrupts_destroy(struct interrupts *in);
/** interrupts_route() - ROUTE with its 4 @args; from any thread */
int64_t interrupts_route(struct interrupts *in, const uint64_t *args);

/* ---- spec.c: numbers, sizes, NAME=WHAT[,OPTION] -------------------------- */

/** spec_number() - false if it is none; UINT64_MAX if it is that or more */
bool spec_number(const char *text, uint64_t *number);
/** spec_size() - of the guest's memory; NULL, or what is wrong with it */
const char *spec_size(const char *text, uint64_t *bytes);
/**
 * spec_name() - take a device's option apart
 * @form: what to say if it has not that form
 * @name: OUT: HCALL_NAME_BYTES of zeros, into which NAME is copied
 * @what: OUT: a copy of the rest, to be changed
 *
 * Return: NULL, or what is wrong.
 */
const char *spec_name(const char *spec, const char *form, char *name,
		      char **what);
/** spec_take_flag() - take @flag (",ro") off the end of @what, if it is there */
bool spec_take_flag(char *what, const char *flag);
/** spec_take_value() - the same with @key (",mac="); returns its value or NULL */
char *spec_take_value(char *what, const char *key);

/* ---- disk.c, console.c, terminal.c: the backends ------------------------- */

struct disk {
	struct disk *next; /* in the order of the command line */
	char name[HCALL_NAME_BYTES];
	const char *path;
	bool read_only;
	bool direct;
	int fd;
	uint32_t unit; /* what the guest calls it */
};

/** disk_parse() - NAME=PATH[,ro][,direct]; NULL, or what is wrong with it */
const char *disk_parse(const char *spec, struct disk **list);
void disk_open(struct disk *disk);
/** disk_check_size() - it can have changed since disk_open() */
void disk_check_size(const struct disk *disk);

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
/**
 * console_open() - NULL for "none"
 * @has_stdin: "stdio" includes stdin, and is not only for output
 */
struct console *console_open(const char *spec, bool has_stdin);
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
/** terminal_beep() - a key has been dropped; once for what is pasted */
void terminal_beep(void);

/** struct escape - @pending: the last key was Ctrl-A */
struct escape {
	bool pending;
};

enum escape_verdict {
	ESCAPE_KEY, /* for the guest */
	ESCAPE_NOTHING, /* it was for us, and has been dealt with */
	ESCAPE_LEAVE,
};

/** terminal_escape() - for each byte from a terminal: what Ctrl-A makes of it */
enum escape_verdict terminal_escape(struct escape *escape, uint8_t key);

/* ---- net.c, tap.c, passt.c, link.c: network interfaces -------------------- */

/*
 * Where nobody says another one: Ethernet's, for which every guest has room.  A
 * packet of a pipe, to which passt is connected, could be 4096 bytes.
 */
#define NET_MTU	       1500u

#define NET_QUEUES_MAX 16

struct passt;

/**
 * struct net - a network interface of the guest's
 * @interface: its tap's name; NULL: not known
 * @fd, @fd_in: what the module gets
 * @more:      the same: a tap's queues after the first
 * @queues:    how many there are; 0, before it is opened: as many as there are
 *	       CPUs, if the tap can have so many
 * @vnet_hdr:  the tap was opened with IFF_VNET_HDR
 * @buffer:    a page for the module alone, if @vnet_hdr
 * @ifindex:   of the tap, whose link is watched; 0: it cannot be
 * @up, @mtu:  the link now
 * @unit:      what the guest calls it
 */
struct net {
	struct net *next; /* in the order of the command line */
	char name[HCALL_NAME_BYTES];
	enum {
		NET_TAP,
		NET_FD,
		NET_USER
	} kind;
	const char *interface;
	bool has_mac;
	uint8_t mac[6];
	int fd, fd_in;
	int more[NET_QUEUES_MAX - 1];
	unsigned int queues;
	bool vnet_hdr;
	void *buffer;
	struct passt *passt;
	int ifindex;
	bool up;
	uint16_t mtu;
	uint32_t unit;
};

/** struct nets - all of them; @ended_fd: eventfd: a passt has ended */
struct nets {
	struct net *first;
	int links_fd, ended_fd;
};

#define NETS_MAX_FDS 2

/** net_parse() - what --net says; NULL, or what is wrong with it */
const char *net_parse(const char *spec, struct nets *nets);
void nets_open(struct nets *nets, unsigned int cpus);
/** nets_add() - give them to a new instance of the module */
void nets_add(const struct nets *nets, int hcall_fd);
/** nets_poll() - what to wait for; returns how many of @fds were filled in */
int nets_poll(const struct nets *nets, struct pollfd *fds);
/** nets_relay() - tell the guest of links that have changed */
void nets_relay(struct nets *nets, const struct pollfd *fds, int count,
		int hcall_fd);
void nets_close(struct nets *nets);

/** struct link - a network interface of the host's */
struct link {
	int index;
	bool up, gone;
	uint32_t mtu;
	uint8_t mac[6];
	enum {
		LINK_OTHER,
		LINK_TAP,
		LINK_MACVTAP
	} kind;
	bool multi_queue; /* a tap that was made so */
	bool packet_info; /* a tap that was opened without IFF_NO_PI */
};

/** link_get() - false: there is no interface @name */
bool link_get(const char *name, struct link *link);
/** link_get_again() - the one with @link->index; false: it is gone */
bool link_get_again(struct link *link);
/** link_watch() - a socket that tells of all changes from now on */
int link_watch(void);
/** link_changes() - false: some were lost; look at the interfaces again */
bool link_changes(int fd, void (*changed)(const struct link *link, void *arg),
		  void *arg);

/** tap_open() - open what @net says, or take its descriptor; fill in both */
void tap_open(struct net *net, struct link *link, unsigned int cpus);
/** tap_reset() - as if it had just been opened */
void tap_reset(const struct net *net);

/** passt_start() - @ended_fd: eventfd to be told by when passt_ended() is true */
struct passt *passt_start(const char *name, int ended_fd);
bool passt_ended(const struct passt *p);
/** passt_fds() - what the module gets */
void passt_fds(const struct passt *p, int *fd_out, int *fd_in);
void passt_stop(struct passt *p);

/* ---- input.c, keyboard.c, keys.c: input devices --------------------------- */

struct kvm_hcall_input;
struct keyboard;

/**
 * struct input - an input device of the guest's
 * @path:        of an evdev device; NULL: stdin, by way of @keyboard
 * @fd:          for what the guest sets, or -1
 * @fd_in:       what the guest reads
 * @buffer:      evdev: a page for the module alone
 * @description: what the guest is told of it
 */
struct input {
	struct input *next; /* in the order of the command line */
	char name[HCALL_NAME_BYTES];
	const char *path;
	bool grab;
	int fd, fd_in;
	void *buffer;
	struct kvm_hcall_input *description;
	struct keyboard *keyboard;
};

/** input_parse() - what --input says; NULL, or what is wrong with it */
const char *input_parse(const char *spec, struct input **list);
void input_open(struct input *input);
/** input_keyboard() - the one that stdin types on, or NULL */
struct keyboard *input_keyboard(const struct input *list);

#define KEYBOARD_MAX_FDS 3

struct keyboard *keyboard_open(void);
/** keyboard_fd() - what the module gets */
int keyboard_fd(const struct keyboard *kbd);
/** keyboard_raw() - if it is typed on by a terminal, take that over */
void keyboard_raw(const struct keyboard *kbd);
/** keyboard_poll() - what to wait for; returns how many of @fds were filled in */
int keyboard_poll(const struct keyboard *kbd, struct pollfd *fds);
enum console_verdict keyboard_relay(struct keyboard *kbd,
				    const struct pollfd *fds, int count);

#define KEYS_SHIFT	1
#define KEYS_CTRL	2
#define KEYS_ALT	4
/* Pressed and released, each with a SYN: three modifiers and a key. */
#define KEYS_MAX_EVENTS (4 * 2 * 2)

/** struct keystroke - @code: KEY_*; @modifiers: KEYS_*, held meanwhile */
struct keystroke {
	uint16_t code;
	uint8_t modifiers;
};

/**
 * struct key_decoder - zeroed: nothing has come yet
 * @state:     how much of an escape sequence there was
 * @number:    its numbers, of which @semicolon says where we are
 */
struct key_decoder {
	enum key_state {
		KEYS_PLAIN,
		KEYS_ESC, /* ESC */
		KEYS_CSI_START, /* ESC [ */
		KEYS_CSI, /* ESC [ and more */
		KEYS_SS3, /* ESC O */
		KEYS_LINUX, /* ESC [ [ */
	} state;
	unsigned int number[2];
	bool semicolon;
};

struct hcall_input_event;
/** keys_decode() - the next byte; true: it completes @stroke */
bool keys_decode(struct key_decoder *d, uint8_t byte, struct keystroke *stroke);
/** keys_waiting() - more bytes may follow; if not, it is keys_timeout() */
bool keys_waiting(const struct key_decoder *d);
bool keys_timeout(struct key_decoder *d, struct keystroke *stroke);
/** keys_events() - at most KEYS_MAX_EVENTS; returns how many */
unsigned int keys_events(const struct keystroke *stroke,
			 struct hcall_input_event *events);
/** keys_codes() - set the bits of all KEY_* that can occur */
void keys_codes(uint8_t *bits);

/* ---- hcall.c: the module ------------------------------------------------- */

/** hcall_open() - bind the module to @vm; returns the instance */
int hcall_open(const struct vm *vm);
void hcall_add_disk(int fd, struct disk *disk);
void hcall_add_console(int fd, const struct console *con);
void hcall_add_net(int fd, struct net *net);
void hcall_add_input(int fd, const struct input *input);
void hcall_seal(int fd);
void hcall_resize(int fd, const struct console *con);
/** hcall_resize_disk() - have the module look again how big it is */
void hcall_resize_disk(int fd, const struct disk *disk);
/** hcall_set_link() - tell the guest of @net->up and @net->mtu */
void hcall_set_link(int fd, const struct net *net);

/* ---- stats.c ------------------------------------------------------------- */

enum {
	STATS_SYS,
	STATS_CONSOLE,
	STATS_BLOCK,
	STATS_TIMER,
	STATS_INPUT,
	STATS_NET,
	STATS_EVENT,
	STATS_VIRTIO,
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
