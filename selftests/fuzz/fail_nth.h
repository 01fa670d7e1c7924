/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of fail_nth share; fail_nth.c says what it does.
 */
#ifndef FUZZ_FAIL_NTH_H
#define FUZZ_FAIL_NTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm.h"

#define DEBUGFS "/sys/kernel/debug/"

/**
 * struct operation - something that faults shall hit
 * @name:      of it
 * @set_up:    makes what it needs; before each fault
 * @prepare:   before each run(); or NULL
 * @run:       it; 0 or more: it has succeeded; or a negative error
 * @result:    what has become of it, when there are no more faults; or NULL
 * @recover:   after an error, before it is made again; or NULL
 * @tear_down: after each fault
 * @nr:        a guest's call, whose errors abi.rst knows; 0: an errno
 * @surely:    it never fails, whatever happens
 * @thread:    whose faults; NULL: this one's
 */
struct operation {
	const char *name;
	void (*set_up)(void);
	void (*prepare)(void);
	int64_t (*run)(void);
	int64_t (*result)(void);
	void (*recover)(void);
	void (*tear_down)(void);
	uint32_t nr;
	bool surely;
	pid_t (*thread)(void);
};

/* ---- Faults: fail_nth_faults.c ---------------------------------------------------- */

/* main(): skips all if the kernel has no faults. */
int fail_nth_main(int argc, char **argv, const struct test *tests, int n);

bool put_text(const char *path, const char *text);

/* Has abi.rst this error of that function? */
bool is_documented(uint32_t nr, int64_t error);

/* Fault after fault, each in a new run; fails the test at what must not be. */
void exhaust(const struct operation *op);

/* ---- Devices: fail_nth_devices.c ---------------------------------------------------- */

struct pair {
	int in[2]; /* to the guest: [1] is ours */
	int out[2]; /* from it: [0] is */
};

extern struct vm vm;
extern struct pair console, keys, net;
/* What run_add() adds. */
extern struct kvm_hcall_add add;

/* A test begins: a VM that nothing is bound to. */
void start(void);
void nothing(void);
int64_t run_add(void);

/* An instance, bound, and all that needs nothing of the host: a console, an input
 * device, an interface, and two disks, of which the second is direct.
 */
void devices_new(void);
void devices_free(void);
void instance_new(void);
void instance_free(void);

void pairs_new(void);
void pairs_free(void);
/* Something to read, and room to write. */
void pair_fill(struct pair *pair, const void *data, size_t bytes);

/* An instance, and @add for one device of the kind. */
void new_console(void);
void new_keys(void);
void new_net(void);
void pairs_and_instance_free(void);
void new_terminal(void);
void free_terminal(void);
void new_disk(void);
void new_direct(void);
void new_block_device(void);
void free_disk(void);
void new_tap(void);
void new_vnet_tap(void);
void new_taps(void);
void free_taps(void);
void new_evdev(void);
void free_evdev(void);
/* Before taps and evdev. */
void host_devices_needed(void);

/* Of the tap "faulty"; of a keyboard. */
#define TAPS 3
extern int taps[TAPS];
extern int uinput;

/* ---- Tests: fail_nth_calls.c --------------------------------------------------------- */

void calls_sys(void);
void calls_console(void);
void calls_block(void);
void calls_timer(void);
void calls_input(void);
void calls_net(void);
void calls_event(void);
void host_devices(void);
void batches(void);
void workers(void);
void calls_virtio(void);
void kicks(void);

#endif
