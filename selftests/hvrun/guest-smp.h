/* SPDX-License-Identifier: GPL-2.0 */
/* The other CPUs of a guest. */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

#include <stdint.h>

#include "start_info.h"

#define MAX_CPUS 16

/*
 * Starts every CPU that the MADT names but ours; each calls @run with its APIC
 * ID on a stack of its own, and halts when that returns.
 *
 * Return: how many there are, ours too; 0: there is something wrong with the
 * tables, and *@why says what.
 */
unsigned int smp_start(const struct hvm_start_info *start,
		       void (*run)(uint32_t id), const char **why);

/* Waits until all that were started have returned. */
void smp_wait(void);

/* The APIC ID of the CPU we are on. */
uint32_t smp_id(void);

#endif /* GUEST_SMP_H */
