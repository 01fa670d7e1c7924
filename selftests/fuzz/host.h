/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the host fuzzer share; host.c says what it does.
 */
#ifndef FUZZ_HOST_H
#define FUZZ_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm.h"

#define PROCESSES 8 /* at most */
#define THREADS	  3 /* at most, of a process, with a guest's beside them */
#define ERRNOS	  134

/* ---- Random numbers: a stream each thread, from the seed ---------------------- */

struct random {
	uint64_t state;
};

uint64_t random64(struct random *r);
/* 0 to @n - 1. */
static inline uint32_t below(struct random *r, uint32_t n)
{
	return (random64(r) >> 32) * n >> 32;
}

/* Once in @n times. */
static inline bool one_in(struct random *r, uint32_t n)
{
	return !below(r, n);
}

/* Any number, most often one of those where something ends. */
uint64_t odd_number(struct random *r);

/* ---- Commands ------------------------------------------------------------------ */

/* ADD is one for each class. */
enum command {
	BIND,
	ADD_CONSOLE,
	ADD_BLOCK,
	ADD_INPUT,
	ADD_NET,
	REMOVE,
	RESIZE,
	POLICY,
	STATS,
	SEAL,
	ROUTE,
	RAISE,
	LINK,
	UNKNOWN, /* numbers, sizes and directions that are nobody's */
	COMMANDS
};

extern const char *const command_names[COMMANDS];

/* ---- What all processes see ----------------------------------------------------- */

/**
 * struct beat - a thread shows that it lives
 * @begun_ns: when it began what it does; 0: it does nothing
 * @doing:    what that is
 */
struct beat {
	_Atomic uint64_t begun_ns;
	char doing[40];
};

/**
 * struct shared - in memory that all processes share
 * @left:       operations to do
 * @results:    of ioctls, by command and errno; 0: success
 * @instances:  opened
 * @forks:      children
 * @calls:      of guests
 * @answered:   those of them that were no error
 * @passed:     descriptors by SCM_RIGHTS
 * @slow:       pages that came late, in the middle of an ioctl
 * @evdev:      of the keyboard that is there now
 * @macvtap:    a device that all share
 * @beats:      of the threads of each process
 * @findings:   how many
 * @finding:    the first of them
 */
struct shared {
	atomic_long left;
	atomic_ulong results[COMMANDS][ERRNOS];
	atomic_ulong instances;
	atomic_ulong forks;
	atomic_ulong calls;
	atomic_ulong answered;
	atomic_ulong passed;
	atomic_ulong slow;
	char evdev[64];
	char macvtap[32];
	struct beat beats[PROCESSES][THREADS + 1];
	atomic_uint findings;
	char finding[32][160];
};

extern struct shared *shared;

/* Something that must not be; goes on. */
__attribute__((format(printf, 1, 2))) void finding(const char *format, ...);
/* Count the result of an ioctl, and see that it is one that is documented. */
void judge(enum command command, int error);

/* ---- Files: host-files.c ---------------------------------------------------------- */

enum kind {
	INSTANCE, /* of /dev/kvm-hcall */
	VM,
	VCPU,
	EVENTFD,
	PIPE_IN,
	PIPE_OUT,
	FRAMES_IN,
	FRAMES_OUT,
	DISK,
	DISK_READONLY,
	DISK_DIRECT,
	LOG, /* O_APPEND */
	TERMINAL,
	KEYBOARD,
	TAP,
	TAP_VNET,
	USEFUL, /* kinds below are for an argument of some command */
	ODD = USEFUL, /* see host-files.c */
	KINDS
};

/**
 * struct files - the descriptors of a process, used and closed by all its threads
 * @file: see file_fd(); 0: none
 * @generation: of the next
 */
#define FILES 96
struct files {
	_Atomic uint64_t file[FILES];
	atomic_uint generation;
};

/* One of them: descriptor, kind, and a number that no other has. */
typedef uint64_t file_t;

static inline int file_fd(file_t file)
{
	return (int)(file & 0xffff) - 1;
}

static inline enum kind file_kind(file_t file)
{
	return file >> 16 & 0xff;
}

/* Where the files of disks are, and a block device; set by main(). */
extern const char *disk_dir;
extern const char *block_device;

void files_add(struct files *files, struct random *r, int fd, enum kind kind);
/* Make one, or with pipes two. */
void files_make(struct files *files, struct random *r, int slot,
		enum kind kind);
/* One that there is, or 0; @at: its place. */
file_t files_any(struct files *files, struct random *r, uint32_t *at);
file_t files_of(struct files *files, struct random *r, enum kind kind,
		uint32_t *at);
/* Close what is at a place. */
void files_close(struct files *files, uint32_t at);
/* A keyboard: evdev's path goes to shared->evdev.  Return: to keep it. */
int keyboard_make(void);

/* ---- A process: host-process.c ------------------------------------------------------ */

/* Does its operations, and ends in one of many ways. */
_Noreturn void process_run(uint64_t seed, int slot, int threads, int pool[2]);

/* ---- Its guest: host-guest.c --------------------------------------------------------- */

/* Call after call on vCPU 0, in a thread, until guest_stop(). */
void guest_begin(struct vm *vm, uint64_t seed, struct beat *beat);
/* It may be asleep: have it make another call. */
void guest_nudge(void);
void guest_stop(void);

#endif
