/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest fuzzer's parts:
 *	guest-make.c	makes a program from a seed and a number: the grammar
 *	guest-run.c	runs one: the VM, its devices, the interpreter in the guest,
 *			what the host does meanwhile, and what has to hold then
 *	guest.c		the command: many programs, figures, and the shortest
 *			program that still fails
 *
 * A program is a list of steps, each for a vCPU or for the host.  A vCPU's steps
 * are calls and what is stored in guest memory before them.  A rewriter is a vCPU
 * that makes no calls but stores the same structures again and again, right and
 * wrong, while the others use them.  The same seed and number always make the same
 * steps, but for the times of deadlines.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm.h"

/* ---- Guest memory beyond that of vmm.h ------------------------------------------ */

/* LOW, with the guest's code, is elsewhere, so that 0 is an address like others. */
#define ZERO	       0x0ull
#define ZERO_BYTES     0x10000u
#define UNDER_4G       0xfffe0000ull
#define UNDER_4G_BYTES 0x20000u
#define OVER_4G	       0x100000000ull
#define OVER_4G_BYTES  0x10000u
#define FAR	       (1ull << 38)
#define FAR_BYTES      0x10000u
/* Steps, and what they store; no call gets an address in it. */
#define STREAMS	       0x31000000ull
#define STREAMS_BYTES  0x2000000u
#define STREAM_BYTES   0x100000u /* of a vCPU */
#define STREAM_DATA    (STREAMS + 0x1000000u)

/* In RAM. */
#define BATCHES	       (RAM + 0x1000u)
#define FRAMES	       (RAM + 0x40000u)
#define INFOS	       (RAM + 0x50000u)
#define QUEUE_AREA(i)  (RAM + 0x60000u + (i)*0x3000u)
#define INDIRECT       (RAM + 0xd0000u)
#define HEADS	       (RAM + 0xe0000u)
#define EVENT_PAGES    (RAM + 0xf0000u)
#define DATA	       (RAM + 0x100000u)

/* ---- Devices -------------------------------------------------------------------- */

#define PAIRS	       4 /* of the tap */

enum device {
	DISK, /* a file */
	DISK_DIRECT, /* the same, with O_DIRECT */
	DISK_READONLY,
	DISK_FULL, /* on a full file system */
	DISK_BROKEN, /* of which most sectors are errors */
	CONSOLE,
	INPUT,
	NET, /* pipes */
	NET_TAP,
	DEVICES
};

#define DISKS		 5
#define DISK_SECTORS	 2048u /* of DISK, the smallest but for the next */
#define READONLY_SECTORS 128u

uint32_t device_class(enum device device);
uint32_t device_unit(enum device device);

/* ---- Programs ------------------------------------------------------------------- */

enum kind {
	STEP_CALL, /* @nr and @args are the registers */
	STEP_STORE, /* @nr bytes to @args[0], from the data at @args[1] */
	STEP_ADD, /* @nr to the 16 bits at @args[0] */
	STEP_HOST, /* @nr is an enum disturbance, @args what it needs */
};

enum disturbance {
	HOST_RAISE,
	HOST_ROUTE,
	HOST_REPLACE, /* REMOVE and ADD a device */
	HOST_RESIZE,
	HOST_LINK,
	HOST_POLICY, /* for a moment */
	HOST_SLOT, /* delete a memslot, and have it again */
	HOST_MOVE, /* the same, and it was elsewhere meanwhile */
	HOST_LOG, /* dirty pages, on or off; and look */
	HOST_SIGNAL,
	HOST_NMI,
	HOST_MSI,
	HOST_STATS,
	HOST_CALL_32, /* one of the calls, in 32-bit mode */
	HOST_CALL_USER, /* ... with CPL 3 */
	DISTURBANCES
};

#define MAX_CALLERS 14 /* and the rewriter, and a vCPU for the host's calls */
#define HOST	    0xffu
#define REWRITER    0xfeu

struct step {
	uint32_t kind;
	uint32_t who; /* vCPU, REWRITER or HOST */
	uint64_t nr;
	uint64_t args[4];
};

struct program {
	uint64_t seed;
	uint64_t number;
	uint32_t callers;
	bool rewriter;
	bool interrupts; /* vCPUs take them */
	bool plain; /* no batches and no queues: calls can be counted exactly */
	struct step *steps;
	uint32_t count;
	uint8_t *data; /* of stores */
	uint32_t data_bytes;
	/* how many of them have room */
	uint32_t steps_room, data_room;
};

/* That a vCPU makes by registers in a program. */
#define PROGRAM_CALLS 1000u

void program_make(struct program *program, uint64_t seed, uint64_t number,
		  uint32_t callers, uint64_t now_ns);
void program_free(struct program *program);
void step_print(const struct step *step, const uint8_t *data);

/*
 * What is known of a call: @count is 1 + the argument that its answer is not greater
 * than, 0: none.
 */
struct call {
	const char *name;
	uint32_t nr;
	uint8_t weight;
	uint8_t count;
	uint32_t cap; /* of a length or count */
	uint8_t args[4];
};

extern const struct call calls[];
extern const unsigned int calls_nr;
/* Return: its place in calls, or calls_nr. */
unsigned int call_find(uint64_t nr);

uint64_t rnd(uint64_t *state);

/* ---- Running them ---------------------------------------------------------------- */

/* What the command has of the process that runs programs, in memory of both. */
#define MAX_CALLS 64
#define ERRORS	  16

struct figures {
	volatile uint64_t program; /* that runs, or ran last */
	volatile uint64_t begun_ns; /* when */
	volatile uint64_t programs; /* done */
	volatile uint64_t calls; /* as the module counts them */
	volatile uint64_t exits; /* those of them that were made by registers */
	uint64_t good[MAX_CALLS + 1]; /* answered without an error */
	uint64_t bad[MAX_CALLS + 1];
	uint64_t errors[8 + 1][ERRORS]; /* by class; the last: other numbers */
	uint64_t kicks; /* NMIs for who slept too long */
	uint64_t disturbed[DISTURBANCES];
	uint64_t failed[DISTURBANCES]; /* with an error number */
	volatile bool fault; /* what has to hold does not */
	volatile bool complained; /* the kernel has, in its log */
};

extern struct figures *figures;
extern const int errors[ERRORS]; /* [0]: any that is not in the table */

/* Once a process. */
void run_prepare(void);
/* Steps with keep[i] false are left out; NULL: none is. */
void run_program(const struct program *program, const bool *keep);

#endif
