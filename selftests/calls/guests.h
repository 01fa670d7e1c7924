/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For programs that are guests of many kinds, each a command, whose calls somebody
 * watches.  They have one VM at a time.
 */
#ifndef GUESTS_H
#define GUESTS_H

#include "vmm.h"

/**
 * struct guest_command - a guest
 * @name: argv[1]
 * @run:  gets what comes behind it
 * @args: so many
 */
struct guest_command {
	const char *name;
	void (*run)(char **args);
	int args;
};

/* main() of all of them; @commands ends with one that has no name. */
int guests_main(int argc, char **argv, const struct guest_command *commands);

extern struct vm vm;

/* The VM is new, and bound. */
void start(void);

uint64_t number(const char *text);

/*
 * A console, an input device with seven keys and an interface, each with a pipe each
 * way, and here are the ends that feed them.
 */
extern int to_console, to_input, to_net;
void add_devices(void);

/* A call that goes to the launcher, which answers.  Return: what the guest gets. */
int64_t call_forwarded(uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
		       uint64_t d, int64_t answer);

#endif
